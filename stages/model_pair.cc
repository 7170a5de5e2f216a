// Two models side by side. Not here: which text, and what the numbers mean (validate).
#include "stages/model_pair.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/formats/gptq.h"
#include "stages/parallel.h"

namespace gridquant::stages {
namespace {

constexpr std::string_view kWeightSuffix = ".weight";
constexpr int64_t kLogitsBytes = 32 << 20;  // of one model's logits per thread
constexpr int64_t kMinChunk = 16;
constexpr int64_t kMaxChunk = 256;

HiddenError compare(tensor::Matrix<const float> original, tensor::Matrix<const float> quantized) {
  HiddenError sums;
  for (int64_t r = 0; r < original.rows; ++r) {
    const float* a = original.row(r);
    const float* b = quantized.row(r);
    for (int64_t c = 0; c < original.cols; ++c) {
      const double difference = static_cast<double>(b[c]) - a[c];
      sums.error += difference * difference;
      sums.energy += static_cast<double>(a[c]) * a[c];
    }
  }
  return sums;
}

}  // namespace

double HiddenError::relative() const {
  return energy > 0 ? std::sqrt(error / energy) : 0;
}

// A quantized model's configuration is refused as a model to start from; without the section that says so it is the
// original's.
StatusOr<QuantizedSource> open_quantized(base::Env& env, const std::string& folder) {
  const std::string path = base::join_path(folder, "config.json");
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env, path));
  QuantizedSource quantized;
  nlohmann::json config = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    quantized.bits = config.at("quantization_config").at("bits").get<int>();
  } catch (const nlohmann::json::exception&) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": has no quantization_config with bits"));
  }
  config.erase("quantization_config");
  GQ_ASSIGN_OR_RETURN(quantized.source, open_model_as(env, folder, config.dump()));
  return quantized;
}

StatusOr<LoadedPair> load_pair(const ModelSource& original, const QuantizedSource& quantized, int64_t b) {
  LoadedPair pair;
  GQ_ASSIGN_OR_RETURN(pair.original, load_block(original, b, {}));
  const formats::TensorSource& checkpoint = *quantized.source.tensors;
  const auto is_packed = [&](const std::string& name) {
    return name.ends_with(kWeightSuffix) &&
           checkpoint.contains(absl::StrCat(name.substr(0, name.size() - kWeightSuffix.size()), ".qweight"));
  };
  LoadFilter filter;
  filter.weight = [&](const std::string& name) { return !is_packed(name); };
  GQ_ASSIGN_OR_RETURN(pair.quantized, load_block(quantized.source, b, filter));
  for (const model::TensorSpec& spec : quantized.source.block(b)) {
    if (spec.role != model::TensorRole::kLinear || !is_packed(spec.name)) continue;
    const std::string module = spec.name.substr(0, spec.name.size() - kWeightSuffix.size());
    GQ_ASSIGN_OR_RETURN(tensor::Tensor weight, formats::dequantize_gptq(checkpoint, module, quantized.bits));
    pair.quantized.weights.emplace(spec.name, std::move(weight));
  }
  return pair;
}

ModelPair::ModelPair(const ModelSource& original, const QuantizedSource& quantized, const TokenSet& tokens,
                     ops::Compute compute, device::ThreadPool& pool)
    : original_(original),
      quantized_(quantized),
      tokens_(tokens),
      compute_(compute),
      pool_(pool),
      hidden_original_(tokens.count(), tokens.length, original.config.hidden_size),
      hidden_quantized_(tokens.count(), tokens.length, original.config.hidden_size),
      walker_(original, compute, tokens.length, pool) {}

Status ModelPair::embed() {
  GQ_ASSIGN_OR_RETURN(const std::string name, embedding_name(original_));
  {
    GQ_ASSIGN_OR_RETURN(const tensor::Tensor embedding, original_.tensors->read(name));
    GQ_RETURN_IF_ERROR(embed_tokens(original_, embedding, tokens_, pool_, hidden_original_));
  }
  GQ_ASSIGN_OR_RETURN(const tensor::Tensor embedding, quantized_.source.tensors->read(name));
  return embed_tokens(quantized_.source, embedding, tokens_, pool_, hidden_quantized_);
}

StatusOr<std::vector<HiddenError>> ModelPair::walk(LoadedPair pair) {
  const int64_t b = pair.original.index;
  GQ_ASSIGN_OR_RETURN(const std::unique_ptr<model::Block> original,
                      make_complete_block(original_, compute_, std::move(pair.original), pool_));
  GQ_ASSIGN_OR_RETURN(const std::unique_ptr<model::Block> quantized,
                      make_complete_block(quantized_.source, compute_, std::move(pair.quantized), pool_));
  walker_.prepare(*original, b);
  std::vector<HiddenError> errors(static_cast<size_t>(tokens_.count()));
  GQ_RETURN_IF_ERROR(parallel(pool_, tokens_.count(), [&](int64_t i, int thread) -> Status {
    GQ_RETURN_IF_ERROR(walker_.walk(*original, hidden_original_, i, thread, {}));
    GQ_RETURN_IF_ERROR(walker_.walk(*quantized, hidden_quantized_, i, thread, {}));
    errors[i] = compare(hidden_original_.sequence(i).hidden, hidden_quantized_.sequence(i).hidden);
    return absl::OkStatus();
  }));
  std::vector<HiddenError> by_language(tokens_.languages.size());
  for (int64_t i = 0; i < tokens_.count(); ++i) {
    HiddenError& of = by_language[tokens_.language_of[i]];
    of.error += errors[i].error;
    of.energy += errors[i].energy;
  }
  return by_language;
}

StatusOr<ModelPair::Head> ModelPair::make_head(const ModelSource& source) {
  Head head;
  std::string weight_name;
  for (const model::TensorSpec& spec : source.outer()) {
    const bool tied = spec.role == model::TensorRole::kEmbedding && source.config.tied_embeddings;
    if (spec.role == model::TensorRole::kLmHead || tied) weight_name = spec.name;
    if (spec.role != model::TensorRole::kNorm) continue;
    GQ_ASSIGN_OR_RETURN(head.norm, source.tensors->read(spec.name));
  }
  GQ_ASSIGN_OR_RETURN(const tensor::Tensor weight, source.tensors->read(weight_name));
  if (weight.dtype() == tensor::DType::kBF16) {
    GQ_ASSIGN_OR_RETURN(head.weight, ops::LinearWeight::pack(compute_, weight.matrix<tensor::BF16>()));
  } else {
    const tensor::Tensor values = tensor::to_f32(weight);
    GQ_ASSIGN_OR_RETURN(head.weight, ops::LinearWeight::pack(compute_, values.matrix<float>()));
  }
  return head;
}

Status ModelPair::reserve_logits(int64_t vocab_size) {
  const int64_t row_bytes = vocab_size * static_cast<int64_t>(sizeof(float));
  chunk_ = std::min(tokens_.length, std::clamp(kLogitsBytes / row_bytes, kMinChunk, kMaxChunk));
  for (int t = 0; t < pool_.threads(); ++t) {
    Workspace workspace;
    workspace.original = tensor::Tensor(tensor::DType::kF32, {chunk_, vocab_size});
    workspace.quantized = tensor::Tensor(tensor::DType::kF32, {chunk_, vocab_size});
    workspace.normed = ops::OperandBuffer(compute_, chunk_, original_.config.hidden_size);
    workspaces_.push_back(std::move(workspace));
  }
  return absl::OkStatus();
}

Status ModelPair::logits(const ModelSource& source, const Head& head, tensor::Matrix<const float> hidden, int thread,
                         tensor::Matrix<float> out) {
  const ops::Operand normed = workspaces_[thread].normed.view().row_range(0, hidden.rows);
  GQ_RETURN_IF_ERROR(source.architecture->final_norm(source.config, head.norm, hidden, normed));
  GQ_RETURN_IF_ERROR(head.weight.multiply(normed, out));
  return source.architecture->finish_logits(source.config, out);
}

Status ModelPair::predict_sequence(int64_t i, int thread, eval::Divergence& into) {
  Workspace& workspace = workspaces_[thread];
  const std::span<const int32_t> ids = tokens_.sequence(i);
  const tensor::Matrix<float> original = hidden_original_.sequence(i).hidden;
  const tensor::Matrix<float> quantized = hidden_quantized_.sequence(i).hidden;
  const int64_t predicted = tokens_.length - 1;  // the last token has no successor in the sequence
  for (int64_t begin = 0; begin < predicted; begin += chunk_) {
    const int64_t rows = std::min(chunk_, predicted - begin);
    const tensor::Matrix<float> a = workspace.original.matrix<float>().row_range(0, rows);
    const tensor::Matrix<float> b = workspace.quantized.matrix<float>().row_range(0, rows);
    GQ_RETURN_IF_ERROR(logits(original_, head_original_, original.row_range(begin, rows), thread, a));
    GQ_RETURN_IF_ERROR(logits(quantized_.source, head_quantized_, quantized.row_range(begin, rows), thread, b));
    eval::fold(a, b, ids.subspan(static_cast<size_t>(begin) + 1, static_cast<size_t>(rows)), into);
  }
  return absl::OkStatus();
}

StatusOr<std::vector<eval::Divergence>> ModelPair::predict() {
  GQ_ASSIGN_OR_RETURN(head_original_, make_head(original_));
  GQ_ASSIGN_OR_RETURN(head_quantized_, make_head(quantized_.source));
  GQ_RETURN_IF_ERROR(reserve_logits(original_.config.vocab_size));
  std::vector<eval::Divergence> sequences(static_cast<size_t>(tokens_.count()));
  GQ_RETURN_IF_ERROR(parallel(pool_, tokens_.count(),
                              [&](int64_t i, int thread) { return predict_sequence(i, thread, sequences[i]); }));
  std::vector<eval::Divergence> by_language(tokens_.languages.size());
  for (int64_t i = 0; i < tokens_.count(); ++i) by_language[tokens_.language_of[i]].merge(sequences[i]);
  for (const eval::Divergence& d : by_language) {
    if (!std::isfinite(d.nll_original)) {
      return absl::FailedPreconditionError(absl::StrCat(original_.path, ": the model's logits are not finite"));
    }
    if (!std::isfinite(d.nll_quantized) || !std::isfinite(d.kl)) {
      return absl::FailedPreconditionError(
          absl::StrCat(quantized_.source.path, ": the quantized model's logits are not finite"));
    }
  }
  return by_language;
}

}  // namespace gridquant::stages
