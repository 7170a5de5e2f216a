// Tables and weights of a part of a block. Not here: what a part computes.
#include "engine/model/arch/block_part.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/ops/add.h"
#include "engine/ops/rms_norm.h"

namespace gridquant::model {

std::string block_prefix(const ModelConfig&, int64_t b) {
  return absl::StrCat("model.layers.", b, ".");
}

ops::Operand as_operand(tensor::Matrix<float> m) {
  return {ops::Compute::kF32, reinterpret_cast<std::byte*>(m.data), m.rows, m.cols, m.stride};
}

NormStyle norm_style(const ModelConfig& config) {
  return {config.rms_norm_eps, config.norm_plus_one};
}

BlockParts two_parts(std::unique_ptr<BlockPart> first, std::unique_ptr<BlockPart> second) {
  BlockParts parts;
  parts.push_back(std::move(first));
  parts.push_back(std::move(second));
  return parts;
}

tensor::Matrix<float> ScratchFloats::matrix(int64_t rows, int64_t cols) {
  const size_t bytes = static_cast<size_t>(rows * cols) * sizeof(float);
  if (buffer_.size() < bytes) buffer_ = tensor::Buffer(bytes);
  return {reinterpret_cast<float*>(buffer_.data()), rows, cols, cols};
}

void BlockPart::add_site(SiteSpec site) {
  sites_.push_back(std::move(site));
}

size_t BlockPart::add_norm(const std::string& name, int64_t width) {
  tensors_.push_back({name, {width}, TensorRole::kNorm, ""});
  norms_.emplace_back();
  return norms_.size() - 1;
}

size_t BlockPart::add_linear(const std::string& layer, int64_t out, int64_t in, bool has_bias) {
  SiteSpec& site = sites_.back();
  tensors_.push_back({layer + ".weight", {out, in}, TensorRole::kLinear, site.name});
  site.weights.push_back(tensors_.back().name);
  linears_.push_back({tensors_.size() - 1, {}, {}});
  if (has_bias) tensors_.push_back({layer + ".bias", {out}, TensorRole::kBias, ""});
  return linears_.size() - 1;
}

void BlockPart::add_router(const std::string& name, int64_t experts, int64_t in) {
  tensors_.push_back({name, {experts, in}, TensorRole::kRouter, ""});
}

std::unique_ptr<BlockPart::Scratch> BlockPart::make_scratch(int64_t, ScratchFloats& floats) const {
  return std::make_unique<Scratch>(floats);
}

// A norm's place is its number among the norms, a bias's that of the linear weight before it.
Status BlockPart::take(size_t tensor_index, tensor::Tensor given) {
  size_t norms = 0;
  size_t linears = 0;
  for (size_t i = 0; i < tensor_index; ++i) {
    norms += tensors_[i].role == TensorRole::kNorm ? 1 : 0;
    linears += tensors_[i].role == TensorRole::kLinear ? 1 : 0;
  }
  switch (tensors_[tensor_index].role) {
    case TensorRole::kNorm:
      if (norm_style_.plus_one) {
        for (float& w : given.as<float>()) w += 1.0f;
      }
      norms_[norms] = std::move(given);
      return absl::OkStatus();
    case TensorRole::kRouter: {
      GQ_ASSIGN_OR_RETURN(router_, ops::LinearWeight::pack(compute_, std::as_const(given).matrix<float>()));
      return absl::OkStatus();
    }
    default:
      linears_[linears - 1].bias = std::move(given);
      return absl::OkStatus();
  }
}

Status BlockPart::take_norms_and_biases(std::span<tensor::Tensor> given) {
  size_t next = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const TensorSpec& spec = tensors_[i];
    if (spec.role == TensorRole::kLinear) continue;
    if (next >= given.size() || given[next].shape() != spec.shape || given[next].dtype() != tensor::DType::kF32) {
      return absl::InvalidArgumentError(
          absl::StrCat("make_block: ", spec.name, " must be given as F32 ", tensor::to_string(spec.shape)));
    }
    GQ_RETURN_IF_ERROR(take(i, std::move(given[next++])));
  }
  if (next == given.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("make_block: ", given.size(), " tensors given, ", next, " used"));
}

Status BlockPart::set_weight(const std::string& name, tensor::Matrix<const float> w) {
  for (Linear& linear : linears_) {
    const TensorSpec& spec = tensors_[linear.tensor];
    if (spec.name != name) continue;
    if (w.rows != spec.shape[0] || w.cols != spec.shape[1]) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": ", w.rows, " x ", w.cols, " given, the model has ", tensor::to_string(spec.shape)));
    }
    GQ_ASSIGN_OR_RETURN(linear.weight, ops::LinearWeight::pack(compute_, w));
    return absl::OkStatus();
  }
  return absl::NotFoundError(absl::StrCat("the block has no weight ", name));
}

void BlockPart::drop_weight(const std::string& name) {
  for (Linear& linear : linears_) {
    if (tensors_[linear.tensor].name == name) linear.weight = ops::LinearWeight();
  }
}

Status BlockPart::norm(size_t which, tensor::Matrix<const float> x, const ops::Operand& out) const {
  return ops::rms_norm(x, norms_[which].as<float>(), norm_style_.eps, out);
}

Status BlockPart::linear(size_t which, const ops::Operand& x, tensor::Matrix<float> y) const {
  GQ_RETURN_IF_ERROR(linears_[which].weight.multiply(x, y));
  return add_bias(linears_[which], y);
}

Status BlockPart::add_product(size_t which, const ops::Operand& x, tensor::Matrix<float> y) const {
  GQ_RETURN_IF_ERROR(linears_[which].weight.multiply_add(x, y));
  return add_bias(linears_[which], y);
}

Status BlockPart::router(const ops::Operand& x, tensor::Matrix<float> logits) const {
  return router_.multiply(x, logits);
}

Status BlockPart::add_normed_product(size_t which, size_t norm_after, const ops::Operand& x, tensor::Matrix<float> y,
                                     ScratchFloats& floats) const {
  for (int64_t begin = 0; begin < x.rows; begin += kTokensAtOnce) {
    const int64_t rows = std::min(kTokensAtOnce, x.rows - begin);
    const tensor::Matrix<float> product = floats.matrix(rows, y.cols);
    GQ_RETURN_IF_ERROR(linear(which, x.row_range(begin, rows), product));
    GQ_RETURN_IF_ERROR(norm(norm_after, product, as_operand(product)));
    GQ_RETURN_IF_ERROR(ops::add(product, y.row_range(begin, rows)));
  }
  return absl::OkStatus();
}

Status BlockPart::add_bias(const Linear& linear, tensor::Matrix<float> y) const {
  if (linear.bias.shape().empty()) return absl::OkStatus();
  return ops::add({linear.bias.as<float>().data(), 1, y.cols, y.cols}, y);
}

}  // namespace gridquant::model
