// What calibrate, quantize and validate share: reading one block's weights, the residual streams of all sequences, and
// walking sequences through a block. Memory does not grow with the number of blocks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/device/thread_pool.h"
#include "engine/model/architecture.h"
#include "stages/model_source.h"
#include "stages/token_store.h"

namespace gridquant::stages {

// One block's tensors, read and checked.
struct LoadedBlock {
  int64_t index = 0;
  std::map<std::string, tensor::Tensor> weights;  // kLinear, F32
  std::vector<tensor::Tensor> norms_and_biases;   // F32, in table order
  std::vector<formats::NamedTensor> raw;          // as they are in the checkpoint, in table order
};

// What load_block leaves out or adds; an empty function means: all weights, nothing raw.
struct LoadFilter {
  std::function<bool(const std::string& name)> weight;  // kLinear tensors that are wanted as F32
  std::function<bool(const std::string& name)> raw;     // any tensors that are wanted in their own type
};
StatusOr<LoadedBlock> load_block(const ModelSource& source, int64_t b, const LoadFilter& filter);

// The residual streams of all sequences: [count * length, hidden_size] fp32.
class HiddenStates {
 public:
  HiddenStates(int64_t count, int64_t length, int64_t hidden_size);
  int64_t count() const { return count_; }
  int64_t length() const { return length_; }
  tensor::Matrix<float> all() { return tensor_.matrix<float>(); }
  // A mixture's blocks also need `routing`, of this sequence or of the thread that walks it.
  model::SequenceView sequence(int64_t i, model::Routing* routing = nullptr) {
    return {all().row_range(i * length_, length_), routing};
  }

 private:
  int64_t count_;
  int64_t length_;
  tensor::Tensor tensor_;
};

// `embedding` is the model's, in its own type.
Status embed_tokens(const ModelSource& source, const tensor::Tensor& embedding, const TokenSet& tokens,
                    device::ThreadPool& pool, HiddenStates& hidden);

// The name of the embedding tensor (role kEmbedding).
StatusOr<std::string> embedding_name(const ModelSource& source);

// Sets `names` of `block` from loaded.weights, in parallel, and gives the F32 copies back.
Status set_weights(model::Block& block, const std::vector<std::string>& names, LoadedBlock& loaded,
                   device::ThreadPool& pool);

// A block with every weight set.
StatusOr<std::unique_ptr<model::Block>> make_complete_block(const ModelSource& source, ops::Compute compute,
                                                            LoadedBlock loaded, device::ThreadPool& pool);

// Called with every site's input before it is used. Runs on pool threads, one sequence at a time per thread.
using SiteObserver = std::function<Status(int site, const model::SequenceView& sequence, const ops::Operand& x)>;

// Takes whole sequences through whole blocks: each sequence's activations stay in one thread's cache. Keeps its
// buffers from block to block. All blocks must be of one model.
class BlockWalker {
 public:
  BlockWalker(const ModelSource& source, ops::Compute compute, int64_t length, device::ThreadPool& pool);

  // Must be called before block `b` is walked, and not beside walk().
  void prepare(const model::Block& block, int64_t b);
  // Sequence `i` of `hidden` through `block`. Thread-safe for different threads and sequences.
  Status walk(const model::Block& block, HiddenStates& hidden, int64_t i, int thread, const SiteObserver& observer);
  // All of them, in parallel, through block `b`.
  Status walk_all(const model::Block& block, int64_t b, HiddenStates& hidden);

 private:
  struct Workspace {
    std::unique_ptr<model::Block::Scratch> scratch;
    tensor::Buffer even, odd;  // operands of sites 0, 2, ... and 1, 3, ...
    model::Routing routing;    // of the sequence that the thread is walking
  };
  ops::Operand operand(Workspace& workspace, int site) const;

  const ModelSource& source_;
  ops::Compute compute_;
  int64_t length_;
  device::ThreadPool& pool_;
  std::vector<model::SiteSpec> sites_;  // of the block that was prepared last
  std::vector<Workspace> workspaces_;
};

// The widest site input of the model among sites of the given parity (0: sites 0, 2, ...), and the most elements that
// such an input has per token.
struct WidestSite {
  int64_t width = 0;
  int64_t per_token = 0;
};
WidestSite widest_site(const ModelSource& source, int parity);

}  // namespace gridquant::stages
