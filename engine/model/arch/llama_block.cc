// One Llama block: norm, q/k/v with rotary embedding and causal attention, o added to the residual stream, norm,
// SiLU-gated MLP, down added to the residual stream. Single-threaded per sequence.
#include "engine/model/arch/llama_block.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/ops/add.h"
#include "engine/ops/attention.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/rope.h"
#include "engine/ops/silu_mul.h"

namespace gridquant::model {
namespace {

using ops::LinearWeight;
using ops::Operand;
using tensor::Matrix;

// The linear weights in the order of block_tensors.
enum Weight { kQ, kK, kV, kO, kGate, kUp, kDown, kWeightCount };

// Gate and up are computed for so many tokens at a time: their fp32 products then stay in the cache until they are
// multiplied.
constexpr int64_t kMlpTokens = 128;

// Scratch is sized by the configuration alone, so that one serves every block of a model.
class LlamaScratch : public Block::Scratch {
 public:
  LlamaScratch(const ModelConfig& c, ops::Compute compute, int64_t max_tokens)
      : max_tokens(max_tokens),
        table(c.rope_theta, c.head_dim, max_tokens),
        product(tensor::DType::kF32, {product_count(c, max_tokens)}),
        q(compute, max_tokens * c.head_count, c.head_dim),
        k(compute, max_tokens * c.kv_head_count, c.head_dim),
        v(compute, max_tokens * c.kv_head_count, c.head_dim) {}

  // A fp32 matrix in the scratch memory, from element `offset` on.
  Matrix<float> matrix(int64_t rows, int64_t cols, int64_t offset = 0) {
    return {product.as<float>().data() + offset, rows, cols, cols};
  }

  int64_t max_tokens;
  ops::RopeTable table;
  tensor::Tensor product;
  ops::OperandBuffer q, k, v;
  ops::AttentionScratch attention;

 private:
  static int64_t product_count(const ModelConfig& c, int64_t max_tokens) {
    const int64_t heads = max_tokens * std::max(c.head_count, c.kv_head_count) * c.head_dim;
    return std::max(heads, 2 * std::min(max_tokens, kMlpTokens) * c.intermediate_size);
  }
};

class LlamaBlock : public Block {
 public:
  explicit LlamaBlock(LlamaBlockSpec spec) : spec_(std::move(spec)) {
    for (const TensorSpec& tensor : spec_.tensors) {
      if (tensor.role == TensorRole::kLinear) linear_.push_back(&tensor);
    }
  }

  Status take_norms_and_biases(std::vector<tensor::Tensor> given) {
    size_t next = 0;
    int weight = -1;
    int norm = 0;
    for (const TensorSpec& spec : spec_.tensors) {
      if (spec.role == TensorRole::kLinear) {
        ++weight;
        continue;
      }
      if (next >= given.size() || given[next].shape() != spec.shape || given[next].dtype() != tensor::DType::kF32) {
        return absl::InvalidArgumentError(
            absl::StrCat("make_block: ", spec.name, " must be given as F32 ", tensor::to_string(spec.shape)));
      }
      tensor::Tensor& slot =
          spec.role == TensorRole::kNorm ? norms_[static_cast<size_t>(norm++)] : biases_[static_cast<size_t>(weight)];
      slot = std::move(given[next++]);
    }
    if (next != given.size()) {
      return absl::InvalidArgumentError(absl::StrCat("make_block: ", given.size(), " tensors given, ", next, " used"));
    }
    return absl::OkStatus();
  }

  std::unique_ptr<Scratch> make_scratch(int64_t max_tokens) const override {
    return std::make_unique<LlamaScratch>(spec_.config, spec_.compute, max_tokens);
  }

  Status set_weight(const std::string& name, Matrix<const float> w) override {
    for (size_t i = 0; i < linear_.size(); ++i) {
      const TensorSpec& spec = *linear_[i];
      if (spec.name != name) continue;
      if (w.rows != spec.shape[0] || w.cols != spec.shape[1]) {
        return absl::InvalidArgumentError(
            absl::StrCat(name, ": ", w.rows, " x ", w.cols, " given, the model has ", tensor::to_string(spec.shape)));
      }
      GQ_ASSIGN_OR_RETURN(weights_[i], LinearWeight::pack(spec_.compute, w));
      return absl::OkStatus();
    }
    return absl::NotFoundError(absl::StrCat("the block has no weight ", name));
  }

  void drop_weight(const std::string& name) override {
    for (size_t i = 0; i < linear_.size(); ++i) {
      if (linear_[i]->name == name) weights_[i] = LinearWeight();
    }
  }

  Status begin(const SequenceView& s, const Operand& x0, Scratch&) const override { return norm(0, s, x0); }

  Status advance(int site, const SequenceView& s, const Operand& x, const Operand& next_x,
                 Scratch& scratch) const override {
    auto& own = static_cast<LlamaScratch&>(scratch);
    if (s.hidden.rows > own.max_tokens || x.rows != s.hidden.rows) {
      return absl::InvalidArgumentError(absl::StrCat("a sequence of ", s.hidden.rows, " tokens with an input of ",
                                                     x.rows, " rows, and scratch memory for ", own.max_tokens));
    }
    switch (site) {
      case 0:
        return attend(x, next_x, own);
      case 1:
        GQ_RETURN_IF_ERROR(add_linear(kO, x, s.hidden));
        return norm(1, s, next_x);
      case 2:
        return gate_and_up(x, next_x, own);
      case 3:
        return add_linear(kDown, x, s.hidden);
      default:
        return absl::InvalidArgumentError(absl::StrCat("a Llama block has sites 0 to 3, not ", site));
    }
  }

 private:
  Status norm(int which, const SequenceView& s, const Operand& out) const {
    return ops::rms_norm(s.hidden, norms_[static_cast<size_t>(which)].as<float>(), spec_.config.rms_norm_eps, out);
  }

  // y = x W^T + bias.
  Status linear(Weight which, const Operand& x, Matrix<float> y) const {
    GQ_RETURN_IF_ERROR(weights_[which].multiply(x, y));
    return add_bias(which, y);
  }

  // y += x W^T + bias.
  Status add_linear(Weight which, const Operand& x, Matrix<float> y) const {
    GQ_RETURN_IF_ERROR(weights_[which].multiply_add(x, y));
    return add_bias(which, y);
  }

  Status add_bias(Weight which, Matrix<float> y) const {
    const tensor::Tensor& bias = biases_[which];
    if (bias.shape().empty()) return absl::OkStatus();
    return ops::add({bias.as<float>().data(), 1, y.cols, y.cols}, y);
  }

  Status attend(const Operand& x, const Operand& out, LlamaScratch& scratch) const {
    const ModelConfig& c = spec_.config;
    const int64_t group = c.head_count / c.kv_head_count;
    const auto project = [&](Weight which, int64_t heads, const ops::RopeTable* table, Operand to) {
      const Matrix<float> y = scratch.matrix(x.rows, heads * c.head_dim);
      GQ_RETURN_IF_ERROR(linear(which, x, y));
      return ops::rope(y, {c.head_dim, which == kQ ? group : 1}, table, to);
    };
    const Operand q = scratch.q.view().row_range(0, x.rows * c.head_count);
    const Operand k = scratch.k.view().row_range(0, x.rows * c.kv_head_count);
    const Operand v = scratch.v.view().row_range(0, x.rows * c.kv_head_count);
    GQ_RETURN_IF_ERROR(project(kQ, c.head_count, &scratch.table, q));
    GQ_RETURN_IF_ERROR(project(kK, c.kv_head_count, &scratch.table, k));
    GQ_RETURN_IF_ERROR(project(kV, c.kv_head_count, nullptr, v));
    const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
    return ops::attention({c.head_count, c.kv_head_count, c.head_dim, scale}, {q, k, v}, out, scratch.attention);
  }

  Status gate_and_up(const Operand& x, const Operand& out, LlamaScratch& scratch) const {
    const int64_t width = spec_.config.intermediate_size;
    for (int64_t begin = 0; begin < x.rows; begin += kMlpTokens) {
      const int64_t rows = std::min(kMlpTokens, x.rows - begin);
      const Operand part = x.row_range(begin, rows);
      const Matrix<float> gate = scratch.matrix(rows, width);
      const Matrix<float> up = scratch.matrix(rows, width, rows * width);
      GQ_RETURN_IF_ERROR(linear(kGate, part, gate));
      GQ_RETURN_IF_ERROR(linear(kUp, part, up));
      GQ_RETURN_IF_ERROR(ops::silu_mul(gate, up, out.row_range(begin, rows)));
    }
    return absl::OkStatus();
  }

  LlamaBlockSpec spec_;
  std::vector<const TensorSpec*> linear_;  // into spec_.tensors
  std::array<LinearWeight, kWeightCount> weights_;
  std::array<tensor::Tensor, kWeightCount> biases_;  // shape [] where there is none
  std::array<tensor::Tensor, 2> norms_;
};

}  // namespace

StatusOr<std::unique_ptr<Block>> make_llama_block(LlamaBlockSpec spec, std::vector<tensor::Tensor> norms_and_biases) {
  auto block = std::make_unique<LlamaBlock>(std::move(spec));
  GQ_RETURN_IF_ERROR(block->take_norms_and_biases(std::move(norms_and_biases)));
  return std::unique_ptr<Block>(std::move(block));
}

}  // namespace gridquant::model
