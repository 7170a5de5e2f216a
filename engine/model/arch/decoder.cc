// A block as its parts one after the other, and what is before and after the blocks. Not here: what a part computes.
#include "engine/model/arch/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/soft_cap.h"

namespace gridquant::model {
namespace {

using ops::Operand;
using tensor::DType;

struct DecoderScratch : public Block::Scratch {
  int64_t max_tokens = 0;
  ScratchFloats floats;
  std::vector<std::unique_ptr<BlockPart::Scratch>> parts;
};

class DecoderBlock : public Block {
 public:
  explicit DecoderBlock(BlockParts parts) : parts_(std::move(parts)) {
    for (size_t p = 0; p < parts_.size(); ++p) {
      const int sites = static_cast<int>(parts_[p]->sites().size());
      for (int s = 0; s < sites; ++s) {
        steps_.push_back({p, s, s + 1 == sites, parts_[p]->sites()[static_cast<size_t>(s)].rows_per_token});
      }
    }
  }

  Status take_norms_and_biases(std::span<tensor::Tensor> given) {
    for (const auto& part : parts_) {
      size_t count = 0;
      for (const TensorSpec& spec : part->tensors()) count += spec.role == TensorRole::kLinear ? 0 : 1;
      // The last part is given all that is left, so that it can say that there is too much.
      if (part == parts_.back()) count = given.size();
      count = std::min(count, given.size());
      GQ_RETURN_IF_ERROR(part->take_norms_and_biases(given.first(count)));
      given = given.subspan(count);
    }
    return absl::OkStatus();
  }

  std::unique_ptr<Scratch> make_scratch(int64_t max_tokens) const override {
    auto scratch = std::make_unique<DecoderScratch>();
    scratch->max_tokens = max_tokens;
    for (const auto& part : parts_) scratch->parts.push_back(part->make_scratch(max_tokens, scratch->floats));
    return scratch;
  }

  Status set_weight(const std::string& name, tensor::Matrix<const float> w) override {
    for (const auto& part : parts_) {
      const Status status = part->set_weight(name, w);
      if (!absl::IsNotFound(status)) return status;
    }
    return absl::NotFoundError(absl::StrCat("the block has no weight ", name));
  }

  void drop_weight(const std::string& name) override {
    for (const auto& part : parts_) part->drop_weight(name);
  }

  Status begin(const SequenceView& s, const Operand& x0, Scratch& scratch) const override {
    return parts_.front()->begin(s, x0, *static_cast<DecoderScratch&>(scratch).parts.front());
  }

  Status advance(int site, const SequenceView& s, const Operand& x, const Operand& next_x,
                 Scratch& scratch) const override {
    auto& own = static_cast<DecoderScratch&>(scratch);
    if (site < 0 || site >= static_cast<int>(steps_.size())) {
      return absl::InvalidArgumentError(
          absl::StrCat("the block has sites 0 to ", steps_.size() - 1, ", there is no site ", site));
    }
    const Step& step = steps_[static_cast<size_t>(site)];
    if (s.hidden.rows > own.max_tokens || x.rows != s.hidden.rows * step.rows_per_token) {
      return absl::InvalidArgumentError(absl::StrCat("a sequence of ", s.hidden.rows, " tokens with an input of ",
                                                     x.rows, " rows, and scratch memory for ", own.max_tokens));
    }
    const Operand next_in_part = step.last ? Operand{} : next_x;
    GQ_RETURN_IF_ERROR(parts_[step.part]->advance(step.site, s, x, next_in_part, *own.parts[step.part]));
    if (!step.last || step.part + 1 == parts_.size()) return absl::OkStatus();
    return parts_[step.part + 1]->begin(s, next_x, *own.parts[step.part + 1]);
  }

 private:
  // Where a site of the block lies.
  struct Step {
    size_t part;
    int site;   // of the part
    bool last;  // of the part
    int64_t rows_per_token;
  };
  BlockParts parts_;
  std::vector<Step> steps_;
};

void copy_row(const tensor::Tensor& embedding, int64_t row, std::span<float> to) {
  const auto begin = static_cast<size_t>(row) * to.size();
  switch (embedding.dtype()) {
    case DType::kF16:
      tensor::f16_to_f32(embedding.as<tensor::F16>().subspan(begin, to.size()), to);
      break;
    case DType::kBF16:
      tensor::bf16_to_f32(embedding.as<tensor::BF16>().subspan(begin, to.size()), to);
      break;
    default:
      std::memcpy(to.data(), embedding.as<float>().data() + begin, to.size_bytes());
  }
}

float rounded_as(DType dtype, float value) {
  if (dtype == DType::kF16) return tensor::to_float(tensor::to_f16(value));
  return dtype == DType::kBF16 ? tensor::to_float(tensor::to_bf16(value)) : value;
}

}  // namespace

std::vector<TensorSpec> DecoderArchitecture::outer_tensors(const ModelConfig& c) const {
  std::vector<TensorSpec> specs = {
      {"model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, TensorRole::kEmbedding, ""},
      {"model.norm.weight", {c.hidden_size}, TensorRole::kNorm, ""},
  };
  if (!c.tied_embeddings) {
    specs.push_back({"lm_head.weight", {c.vocab_size, c.hidden_size}, TensorRole::kLmHead, ""});
  }
  return specs;
}

std::vector<TensorSpec> DecoderArchitecture::block_tensors(const ModelConfig& config, int64_t b) const {
  std::vector<TensorSpec> specs;
  for (const auto& part : parts(config, b, ops::Compute::kF32)) {
    specs.insert(specs.end(), part->tensors().begin(), part->tensors().end());
  }
  return specs;
}

std::vector<SiteSpec> DecoderArchitecture::sites(const ModelConfig& config, int64_t b) const {
  std::vector<SiteSpec> sites;
  for (const auto& part : parts(config, b, ops::Compute::kF32)) {
    sites.insert(sites.end(), part->sites().begin(), part->sites().end());
  }
  return sites;
}

StatusOr<std::unique_ptr<Block>> DecoderArchitecture::make_block(const ModelConfig& config, int64_t b,
                                                                 ops::Compute compute,
                                                                 std::vector<tensor::Tensor> norms_and_biases) const {
  auto block = std::make_unique<DecoderBlock>(parts(config, b, compute));
  GQ_RETURN_IF_ERROR(block->take_norms_and_biases(norms_and_biases));
  return std::unique_ptr<Block>(std::move(block));
}

Status DecoderArchitecture::embed(const ModelConfig& config, const tensor::Tensor& embedding,
                                  std::span<const int32_t> ids, tensor::Matrix<float> hidden) const {
  const int64_t width = config.hidden_size;
  if (embedding.cols() != width || hidden.cols != width || hidden.rows != static_cast<int64_t>(ids.size())) {
    return absl::InvalidArgumentError(absl::StrCat("embed: ", ids.size(), " tokens, embedding ",
                                                   tensor::to_string(embedding.shape()), ", hidden states ",
                                                   hidden.rows, " x ", hidden.cols));
  }
  const float scale = rounded_as(embedding.dtype(), std::sqrt(static_cast<float>(width)));
  for (int64_t t = 0; t < hidden.rows; ++t) {
    const int64_t id = ids[static_cast<size_t>(t)];
    if (id < 0 || id >= embedding.rows()) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id ", id, " is outside of the model's vocabulary of ", embedding.rows()));
    }
    const std::span<float> row(hidden.row(t), static_cast<size_t>(width));
    copy_row(embedding, id, row);
    if (!config.scaled_embeddings) continue;
    for (float& v : row) v *= scale;
  }
  return absl::OkStatus();
}

Status DecoderArchitecture::final_norm(const ModelConfig& config, const tensor::Tensor& norm,
                                       tensor::Matrix<const float> hidden, const ops::Operand& out) const {
  tensor::Tensor weight = tensor::to_f32(norm);
  if (config.norm_plus_one) {
    for (float& w : weight.as<float>()) w += 1.0f;
  }
  return ops::rms_norm(hidden, weight.as<float>(), config.rms_norm_eps, out);
}

Status DecoderArchitecture::finish_logits(const ModelConfig& config, tensor::Matrix<float> logits) const {
  return config.logit_soft_cap > 0 ? ops::soft_cap(config.logit_soft_cap, logits) : absl::OkStatus();
}

}  // namespace gridquant::model
