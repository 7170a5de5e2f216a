// Inside engine/model only: a part of a decoder block. It reads the residual stream through its norm and adds its
// result to it. Attention and the MLP are parts; a mixture of experts is another. A block (arch/decoder.h) is its parts
// one after the other.
//
// A part is its tables (tensors, sites) as much as its arithmetic: make it without weights to ask for the tables. It
// starts from an input of its own norm (`begin`) and is cut at its own sites, numbered from 0; advance() at its last
// site adds to the residual stream and leaves no next input.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/model/architecture.h"

namespace gridquant::model {

constexpr char kAttentionInput[] = "attention_input";
constexpr char kAttentionOutput[] = "attention_output";
constexpr char kMlpInput[] = "mlp_input";
constexpr char kMlpOutput[] = "mlp_output";

// Before the names of block `b`'s tensors: "model.layers.3."
std::string block_prefix(const ModelConfig& config, int64_t b);

// Tokens whose fp32 products are made at a time where nobody needs all of them.
constexpr int64_t kTokensAtOnce = ops::kRowsAtFullSpeed;

// fp32 memory of one thread that the parts of a block use one after the other: it grows to the largest need.
class ScratchFloats {
 public:
  // A dense matrix over uninitialised memory; valid until the next call.
  tensor::Matrix<float> matrix(int64_t rows, int64_t cols);

 private:
  tensor::Buffer buffer_;
};

// A fp32 matrix as an operand of fp32 products, for ops that write either type.
ops::Operand as_operand(tensor::Matrix<float> m);

// How a model normalizes.
struct NormStyle {
  float eps = 1e-6f;
  bool plus_one = false;  // the stored weight is the distance from 1
};
NormStyle norm_style(const ModelConfig& config);

class BlockPart;
// In execution order, which is also the order of their tensors in the table.
using BlockParts = std::vector<std::unique_ptr<BlockPart>>;
BlockParts two_parts(std::unique_ptr<BlockPart> first, std::unique_ptr<BlockPart> second);

// Thread-safety: as model::Block.
class BlockPart {
 public:
  // What one thread needs. It serves the part in the same place of every block of the model, so that parts that take
  // turns there (gated MLP, experts) need no more than this.
  struct Scratch {
    explicit Scratch(ScratchFloats& floats) : floats(floats) {}
    virtual ~Scratch() = default;
    ScratchFloats& floats;  // shared by the parts of the block
  };

  BlockPart(ops::Compute compute, const NormStyle& norm_style) : compute_(compute), norm_style_(norm_style) {}
  virtual ~BlockPart() = default;
  BlockPart(const BlockPart&) = delete;
  BlockPart& operator=(const BlockPart&) = delete;

  const std::vector<TensorSpec>& tensors() const { return tensors_; }  // in the order in which they were added
  const std::vector<SiteSpec>& sites() const { return sites_; }        // in execution order

  // Every tensor of the table that is not a linear weight (norms, biases, a router), F32, in table order.
  Status take_norms_and_biases(std::span<tensor::Tensor> given);
  // NotFound if the part has no linear weight of this name.
  virtual Status set_weight(const std::string& name, tensor::Matrix<const float> w);
  virtual void drop_weight(const std::string& name);

  // `floats` outlives the result.
  virtual std::unique_ptr<Scratch> make_scratch(int64_t max_tokens, ScratchFloats& floats) const;
  // x0 = the input of site 0.
  virtual Status begin(const SequenceView& s, const ops::Operand& x0, Scratch& scratch) const = 0;
  virtual Status advance(int site, const SequenceView& s, const ops::Operand& x, const ops::Operand& next_x,
                         Scratch& scratch) const = 0;

 protected:
  // Rows of the tables, added by the constructor of the part. A linear weight belongs to the site added last. The
  // result names the norm or weight in the calls below.
  void add_site(SiteSpec site);
  void add_site(const std::string& name, int64_t width) { add_site({name, width, {}}); }
  size_t add_norm(const std::string& name, int64_t width);
  size_t add_linear(const std::string& layer, int64_t out, int64_t in, bool has_bias);
  void add_router(const std::string& name, int64_t experts, int64_t in);  // at most one

  ops::Compute compute() const { return compute_; }
  // `out` may be x itself (fp32).
  Status norm(size_t which, tensor::Matrix<const float> x, const ops::Operand& out) const;
  // y = x W^T + bias.
  Status linear(size_t which, const ops::Operand& x, tensor::Matrix<float> y) const;
  // y += x W^T + bias.
  Status add_product(size_t which, const ops::Operand& x, tensor::Matrix<float> y) const;
  // y += norm(x W^T + bias), some tokens at a time.
  Status add_normed_product(size_t which, size_t norm_after, const ops::Operand& x, tensor::Matrix<float> y,
                            ScratchFloats& floats) const;
  // logits = x W^T, W the router.
  Status router(const ops::Operand& x, tensor::Matrix<float> logits) const;

 private:
  struct Linear {
    size_t tensor = 0;  // in tensors_
    ops::LinearWeight weight;
    tensor::Tensor bias;  // shape [] where there is none
  };
  Status take(size_t tensor_index, tensor::Tensor given);
  Status add_bias(const Linear& linear, tensor::Matrix<float> y) const;

  ops::Compute compute_;
  NormStyle norm_style_;
  std::vector<TensorSpec> tensors_;
  std::vector<SiteSpec> sites_;
  std::vector<Linear> linears_;
  std::vector<tensor::Tensor> norms_;
  ops::LinearWeight router_;
};

}  // namespace gridquant::model
