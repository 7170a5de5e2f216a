// What calibrate, quantize and validate share: reading one block's weights, the residual streams of all sequences, and
// walking sequences through a block. Memory does not grow with the number of blocks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/device/thread_pool.h"
#include "engine/formats/gptq.h"
#include "engine/model/architecture.h"
#include "stages/hidden_states.h"
#include "stages/model_source.h"
#include "stages/token_store.h"

namespace gridquant::stages {

// A linear weight between reading and use, in the form that takes the least memory: widened at the last moment, and
// gone after it.
class LoadedWeight {
 public:
  // F32, F16 or BF16.
  explicit LoadedWeight(tensor::Tensor stored) : stored_(std::move(stored)) {}
  // `make` holds what the weight is computed from.
  explicit LoadedWeight(std::function<StatusOr<tensor::Tensor>()> make) : make_(std::move(make)) {}
  // As F32. Only once: the stored form is given back. Runs on one thread.
  StatusOr<tensor::Tensor> take();
  // The same on all threads of the pool, for one large weight at a time.
  StatusOr<tensor::Tensor> take(device::ThreadPool& pool);

  // Some rows as F32, of a weight that is stored and not taken yet: it stays. Internal otherwise.
  StatusOr<tensor::Tensor> rows_as_f32(int64_t begin, int64_t count) const;
  int64_t rows() const { return stored_.rows(); }  // of a stored one

 private:
  tensor::Tensor stored_;
  std::function<StatusOr<tensor::Tensor>()> make_;  // or null
};

// Dequantized when it is taken.
LoadedWeight deferred(formats::GptqWeight packed);

// One block's tensors, read and checked.
struct LoadedBlock {
  int64_t index = 0;
  std::map<std::string, LoadedWeight> weights;   // kLinear
  std::vector<tensor::Tensor> norms_and_biases;  // F32, in table order
  std::vector<formats::NamedTensor> raw;         // as they are in the checkpoint, in table order

  // Takes a weight out. Internal if it was not read, or is gone.
  StatusOr<LoadedWeight> take(const std::string& name);
};

// What load_block leaves out or adds; an empty function means: all weights, nothing raw.
struct LoadFilter {
  std::function<bool(const std::string& name)> weight;  // kLinear tensors that are wanted
  std::function<bool(const std::string& name)> raw;     // any tensors that are wanted in their own type
};
StatusOr<LoadedBlock> load_block(const ModelSource& source, int64_t b, const LoadFilter& filter);

// Reads the rows of the embedding that the tokens need, and no others.
Status embed_tokens(const ModelSource& source, const TokenSet& tokens, device::ThreadPool& pool, HiddenStates& hidden);

// Sets `names` of `block` from loaded.weights, in parallel: as many weights are F32 at once as there are threads.
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
  // A view of `length` rows; its routing is set here. For sequences in lock-step, whose view has a cache.
  Status walk_view(const model::Block& block, model::SequenceView view, int thread, const SiteObserver& observer);
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
