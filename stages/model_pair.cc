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

constexpr int64_t kLogitsBytes = 32 << 20;  // of one model's logits per thread
constexpr int64_t kHeadBytes = 256 << 20;   // of lm_head in fp32: it is used in parts of the vocabulary
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
    return name.ends_with(formats::kWeightSuffix) &&
           checkpoint.contains(absl::StrCat(name.substr(0, name.size() - formats::kWeightSuffix.size()), ".qweight"));
  };
  LoadFilter filter;
  filter.weight = [&](const std::string& name) { return !is_packed(name); };
  GQ_ASSIGN_OR_RETURN(pair.quantized, load_block(quantized.source, b, filter));
  for (const model::TensorSpec& spec : quantized.source.block(b)) {
    if (spec.role != model::TensorRole::kLinear || !is_packed(spec.name)) continue;
    const std::string module = spec.name.substr(0, spec.name.size() - formats::kWeightSuffix.size());
    GQ_ASSIGN_OR_RETURN(formats::GptqWeight packed, formats::read_gptq(checkpoint, module, quantized.bits));
    pair.quantized.weights.emplace(spec.name, deferred(std::move(packed)));
  }
  return pair;
}

ModelPair::ModelPair(const ModelSource& original, const QuantizedSource& quantized, const TokenSet& tokens,
                     ops::Compute compute, const Borrowed& borrowed)
    : original_(original),
      quantized_(quantized),
      all_tokens_(tokens),
      tokens_(borrowed.shard.own_tokens(tokens)),
      compute_(compute),
      pool_(borrowed.pool),
      shard_(borrowed.shard),
      walker_(original, compute, tokens.length, borrowed.pool) {}

Status ModelPair::reserve(ActivationBudget& budget) {
  const int64_t width = original_.config.hidden_size;
  GQ_ASSIGN_OR_RETURN(hidden_original_,
                      HiddenStates::make(budget, "hidden-original", tokens_.count(), tokens_.length, width));
  GQ_ASSIGN_OR_RETURN(hidden_quantized_,
                      HiddenStates::make(budget, "hidden-quantized", tokens_.count(), tokens_.length, width));
  return absl::OkStatus();
}

Status ModelPair::embed() {
  GQ_RETURN_IF_ERROR(embed_tokens(original_, tokens_, pool_, hidden_original_));
  return embed_tokens(quantized_.source, tokens_, pool_, hidden_quantized_);
}

StatusOr<std::vector<HiddenError>> ModelPair::walk(LoadedPair pair) {
  const int64_t b = pair.original.index;
  GQ_ASSIGN_OR_RETURN(const std::unique_ptr<model::Block> original,
                      make_complete_block(original_, compute_, std::move(pair.original), pool_));
  GQ_ASSIGN_OR_RETURN(const std::unique_ptr<model::Block> quantized,
                      make_complete_block(quantized_.source, compute_, std::move(pair.quantized), pool_));
  walker_.prepare(*original, b);
  std::vector<HiddenError> errors(static_cast<size_t>(all_tokens_.count()));
  HiddenError* own = errors.data() + shard_.first_sequence();
  GQ_RETURN_IF_ERROR(parallel(pool_, tokens_.count(), [&](int64_t i, int thread) -> Status {
    GQ_RETURN_IF_ERROR(walker_.walk(*original, hidden_original_, i, thread, {}));
    GQ_RETURN_IF_ERROR(walker_.walk(*quantized, hidden_quantized_, i, thread, {}));
    own[i] = compare(hidden_original_.sequence(i).hidden, hidden_quantized_.sequence(i).hidden);
    hidden_original_.release(i);
    hidden_quantized_.release(i);
    return absl::OkStatus();
  }));
  GQ_RETURN_IF_ERROR(shard_.gather(errors));
  std::vector<HiddenError> by_language(tokens_.languages.size());
  for (int64_t i = 0; i < all_tokens_.count(); ++i) {
    HiddenError& of = by_language[all_tokens_.language_of[i]];
    of.error += errors[i].error;
    of.energy += errors[i].energy;
  }
  return by_language;
}

StatusOr<ModelPair::Head> ModelPair::open_head(const ModelSource& source) const {
  Head head;
  std::string weight_name;
  for (const model::TensorSpec& spec : source.outer()) {
    const bool tied = spec.role == model::TensorRole::kEmbedding && source.config.tied_embeddings;
    if (spec.role == model::TensorRole::kLmHead || tied) weight_name = spec.name;
    if (spec.role != model::TensorRole::kNorm) continue;
    GQ_ASSIGN_OR_RETURN(head.norm, source.tensors->read(spec.name));
  }
  GQ_ASSIGN_OR_RETURN(head.rows, source.tensors->rows(weight_name));
  return head;
}

Status ModelPair::load_part(Head& head, int64_t begin, int64_t count) const {
  head.weight = ops::LinearWeight();
  tensor::Tensor part(head.rows->dtype(), {count, head.rows->cols()});
  GQ_RETURN_IF_ERROR(head.rows->read(begin, count, part.raw()));
  if (part.dtype() == tensor::DType::kBF16) {
    GQ_ASSIGN_OR_RETURN(head.weight, ops::LinearWeight::pack(compute_, std::as_const(part).matrix<tensor::BF16>()));
  } else {
    const tensor::Tensor values = tensor::to_f32(part);
    GQ_ASSIGN_OR_RETURN(head.weight, ops::LinearWeight::pack(compute_, values.matrix<float>()));
  }
  return absl::OkStatus();
}

void ModelPair::reserve_logits(int64_t part) {
  const int64_t row_bytes = part * static_cast<int64_t>(sizeof(float));
  chunk_ = std::min(tokens_.length, std::clamp(kLogitsBytes / row_bytes, kMinChunk, kMaxChunk));
  for (int t = 0; t < pool_.threads(); ++t) {
    Workspace workspace;
    workspace.original = tensor::Tensor(tensor::DType::kF32, {chunk_, part});
    workspace.quantized = tensor::Tensor(tensor::DType::kF32, {chunk_, part});
    workspace.normed = ops::OperandBuffer(compute_, chunk_, original_.config.hidden_size);
    workspaces_.push_back(std::move(workspace));
  }
  rows_.resize(static_cast<size_t>(tokens_.count() * (tokens_.length - 1)));
}

Status ModelPair::logits(const ModelSource& source, const Head& head, tensor::Matrix<const float> hidden, int thread,
                         tensor::Matrix<float> out) {
  const ops::Operand normed = workspaces_[thread].normed.view().row_range(0, hidden.rows);
  GQ_RETURN_IF_ERROR(source.architecture->final_norm(source.config, head.norm, hidden, normed));
  GQ_RETURN_IF_ERROR(head.weight.multiply(normed, out));
  return source.architecture->finish_logits(source.config, out);
}

Status ModelPair::predict_sequence(int64_t i, int thread, int64_t first_id) {
  Workspace& workspace = workspaces_[thread];
  const std::span<const int32_t> ids = tokens_.sequence(i);
  const tensor::Matrix<float> original = hidden_original_.sequence(i).hidden;
  const tensor::Matrix<float> quantized = hidden_quantized_.sequence(i).hidden;
  const int64_t predicted = tokens_.length - 1;  // the last token has no successor in the sequence
  const int64_t width = head_original_.weight.out();
  for (int64_t begin = 0; begin < predicted; begin += chunk_) {
    const int64_t rows = std::min(chunk_, predicted - begin);
    const tensor::Matrix<float> a{workspace.original.as<float>().data(), rows, width, width};
    const tensor::Matrix<float> b{workspace.quantized.as<float>().data(), rows, width, width};
    GQ_RETURN_IF_ERROR(logits(original_, head_original_, original.row_range(begin, rows), thread, a));
    GQ_RETURN_IF_ERROR(logits(quantized_.source, head_quantized_, quantized.row_range(begin, rows), thread, b));
    eval::add_part(a, b, first_id, ids.subspan(static_cast<size_t>(begin) + 1, static_cast<size_t>(rows)),
                   std::span(rows_).subspan(static_cast<size_t>(i * predicted + begin), static_cast<size_t>(rows)));
  }
  hidden_original_.release(i);
  hidden_quantized_.release(i);
  return absl::OkStatus();
}

Status ModelPair::predict_part(int64_t begin, int64_t count) {
  GQ_RETURN_IF_ERROR(parallel(pool_, 2, [&](int64_t which, int) {
    return load_part(which == 0 ? head_original_ : head_quantized_, begin, count);
  }));
  return parallel(pool_, tokens_.count(), [&](int64_t i, int thread) { return predict_sequence(i, thread, begin); });
}

StatusOr<std::vector<eval::Divergence>> ModelPair::predict() {
  GQ_ASSIGN_OR_RETURN(head_original_, open_head(original_));
  GQ_ASSIGN_OR_RETURN(head_quantized_, open_head(quantized_.source));
  const int64_t vocab = original_.config.vocab_size;
  const int64_t part =
      std::min(vocab, std::max<int64_t>(1, kHeadBytes / (original_.config.hidden_size * int64_t{sizeof(float)})));
  reserve_logits(part);
  for (int64_t begin = 0; begin < vocab; begin += part) {
    GQ_RETURN_IF_ERROR(predict_part(begin, std::min(part, vocab - begin)));
  }
  std::vector<eval::Divergence> sequences(static_cast<size_t>(all_tokens_.count()));
  const auto predicted = static_cast<size_t>(tokens_.length - 1);
  for (size_t i = 0; i < static_cast<size_t>(tokens_.count()); ++i) {
    eval::fold_rows(std::span<const eval::PartialRow>(rows_).subspan(i * predicted, predicted),
                    sequences[static_cast<size_t>(shard_.first_sequence()) + i]);
  }
  GQ_RETURN_IF_ERROR(shard_.gather(sequences));
  std::vector<eval::Divergence> by_language(tokens_.languages.size());
  for (int64_t i = 0; i < all_tokens_.count(); ++i) by_language[all_tokens_.language_of[i]].merge(sequences[i]);
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
