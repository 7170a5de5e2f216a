// What one model architecture is: a table of tensors, a table of sites, and the forward pass of one block cut at the
// sites. One file per architecture in model/arch/, one line each in model/arch/list.cc; what a file is made of is in
// model/arch/decoder.h.
//
// A *site* is a place in a block whose input several weights share (q, k, v; gate, up): statistics belong to the site.
// Walking the sites in order does every product of the block once, and lets each site's weights be replaced (quantized)
// after its input was observed and before it is used.
//
// In a mixture of experts a site is *routed*: each expert's weights see only the rows of the tokens that the router
// sent to it, and statistics belong to the expert (site_parts.h). All sequences still stop only once per site.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/model/config.h"
#include "engine/model/routing.h"
#include "engine/ops/linear.h"
#include "engine/ops/operand.h"
#include "engine/tensor/tensor.h"

namespace gridquant::ops {
class KvCache;  // engine/ops/attention_step.h
}

namespace gridquant::model {

class ConfigFields;  // config_fields.h

// A router is a weight that is never quantized: it decides where tokens go, and is tiny.
enum class TensorRole { kEmbedding, kLmHead, kNorm, kLinear, kBias, kRouter };
const char* name_of(TensorRole role);  // "lm_head": as in analysis.json and plan.json

struct TensorSpec {
  std::string name;  // as in the checkpoint: "model.layers.3.self_attn.q_proj.weight"
  tensor::Shape shape;
  TensorRole role = TensorRole::kLinear;
  std::string site;  // kLinear inside a block: the site it reads from; else ""
};

struct SiteSpec {
  std::string name;                  // "attention_input", "attention_output", "mlp_input", "mlp_output"
  int64_t width = 0;                 // columns of its input
  std::vector<std::string> weights;  // tensor names, in the order of TensorSpec

  // A routed site: its weights are listed expert by expert, equally many of each. Its input has one row per token, or,
  // `packed`, the packed rows of the sequence's Routing: rows_per_token (the experts of a token) for each token.
  int64_t experts = 0;  // 0: dense
  bool packed = false;
  int64_t rows_per_token = 1;
};

// One sequence on its way through the blocks. `hidden` is the residual stream, [tokens, hidden_size] fp32. `routing` is
// written by the step that ends before a block's first routed site and read by the later ones; null is allowed where
// every block is dense.
//
// With a `cache` it is one new token each of several sequences that go on in lock-step instead: row r of `hidden` is
// sequence r's. Attention takes what came before from the cache, which is of this block and these sequences, and adds
// the new token to it; everything else in a block works row by row.
struct SequenceView {
  tensor::Matrix<float> hidden;
  Routing* routing = nullptr;
  ops::KvCache* cache = nullptr;
};

// One block's weights, ready for products, and the steps between its sites.
// Thread-safety: begin() and advance() are const and may run on many sequences at once, with one Scratch per thread;
// set_weight() must not run beside them, but set_weight() of different names may run at once.
class Block {
 public:
  virtual ~Block() = default;

  // Scratch memory of one thread for sequences of at most `max_tokens` tokens. It serves every block of the same model
  // and compute type: make it once per thread.
  class Scratch {
   public:
    virtual ~Scratch() = default;
  };
  virtual std::unique_ptr<Scratch> make_scratch(int64_t max_tokens) const = 0;

  // The weight `name` ([out, in], already dequantized where it is a quantized one) for the products to come.
  virtual Status set_weight(const std::string& name, tensor::Matrix<const float> w) = 0;
  // Gives back the memory of a weight after its site was passed by every sequence.
  virtual void drop_weight(const std::string& name) = 0;

  // x0 = the input of site 0, from the hidden states. x0 is [tokens, width of site 0], of the compute type. (A later
  // site's input has rows_per_token rows per token.)
  virtual Status begin(const SequenceView& s, const ops::Operand& x0, Scratch& scratch) const = 0;
  // Applies the weights of site `site` to its input x and goes on to the next site's input `next_x`; after the last
  // site the block's output is in s.hidden and next_x is not used (pass {}). x and next_x do not overlap.
  virtual Status advance(int site, const SequenceView& s, const ops::Operand& x, const ops::Operand& next_x,
                         Scratch& scratch) const = 0;
};

class Architecture {
 public:
  virtual ~Architecture() = default;
  virtual std::string name() const = 0;  // as in config.json's "architectures"
  // Reads config.json's fields, with the defaults that transformers has for this architecture. Errors are kept in
  // `fields`. `config` has its architecture already.
  virtual void read_config(ConfigFields& fields, ModelConfig& config) const = 0;
  // Every tensor outside the blocks (embedding, final norm, lm_head unless tied), and every tensor of block `b`.
  virtual std::vector<TensorSpec> outer_tensors(const ModelConfig& config) const = 0;
  virtual std::vector<TensorSpec> block_tensors(const ModelConfig& config, int64_t b) const = 0;
  // The sites of block `b` in execution order.
  virtual std::vector<SiteSpec> sites(const ModelConfig& config, int64_t b) const = 0;
  // A block that has its norms, biases and router (every non-kLinear tensor of block_tensors, F32, in that order) and
  // no linear weights yet.
  virtual StatusOr<std::unique_ptr<Block>> make_block(const ModelConfig& config, int64_t b, ops::Compute compute,
                                                      std::vector<tensor::Tensor> norms_and_biases) const = 0;

  // Token ids -> hidden states [tokens, hidden_size]; `embedding` is [vocab, hidden] F32/F16/BF16.
  virtual Status embed(const ModelConfig& config, const tensor::Tensor& embedding, std::span<const int32_t> ids,
                       tensor::Matrix<float> hidden) const = 0;
  // Hidden states -> the input of lm_head (final norm), in the compute type.
  virtual Status final_norm(const ModelConfig& config, const tensor::Tensor& norm, tensor::Matrix<const float> hidden,
                            const ops::Operand& out) const = 0;
  // The products of lm_head -> logits, in place (a soft cap where the model has one).
  virtual Status finish_logits(const ModelConfig& config, tensor::Matrix<float> logits) const = 0;
};

// The architecture of `config` (never null: parse_model_config has refused unknown ones). Lives for ever.
const Architecture& architecture_of(const ModelConfig& config);
std::vector<std::string> known_architectures();

}  // namespace gridquant::model
