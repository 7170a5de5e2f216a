// The original and the quantized model, walked side by side one block at a time: hidden states of both, how far they
// are apart after every block, and in the end the divergence of what they predict.
#pragma once

#include <string>
#include <vector>

#include "engine/device/thread_pool.h"
#include "engine/eval/divergence.h"
#include "engine/ops/linear.h"
#include "stages/block_loop.h"
#include "stages/plan_file.h"
#include "stages/shard.h"

namespace gridquant::stages {

// One block of both models, as read.
struct LoadedPair {
  LoadedBlock original;
  LoadedBlock quantized;
};

// The quantized model as any other reader sees it: its own folder, its own configuration, GPTQ weights dequantized.
struct QuantizedSource {
  ModelSource source;
  int bits = 4;
};
StatusOr<QuantizedSource> open_quantized(base::Env& env, const std::string& folder);

// A linear weight is read as GPTQ tensors where "<module>.qweight" is there, as it is otherwise.
StatusOr<LoadedPair> load_pair(const ModelSource& original, const QuantizedSource& quantized, int64_t b);

// Sums over the tokens of one language.
struct HiddenError {
  double error = 0;   // sum of (quantized - original)^2
  double energy = 0;  // sum of original^2
  double relative() const;
};

class ModelPair {
 public:
  struct Borrowed {
    device::ThreadPool& pool;
    const Shard& shard;
  };
  // `tokens` of all ranks; this one walks its own. What is returned is of all.
  ModelPair(const ModelSource& original, const QuantizedSource& quantized, const TokenSet& tokens, ops::Compute compute,
            const Borrowed& borrowed);

  // Makes the hidden states of both. Before anything else.
  Status reserve(ActivationBudget& budget);

  // Embeds the tokens with each model's own embedding.
  Status embed();
  // Takes both through one block. Returns the errors per language.
  StatusOr<std::vector<HiddenError>> walk(LoadedPair pair);
  // Per language, over all predicted tokens. FailedPrecondition if a model's logits are not finite.
  StatusOr<std::vector<eval::Divergence>> predict();

 private:
  // Rows [begin, begin + rows of weight) of lm_head: the logits of a part of the vocabulary.
  struct Head {
    tensor::Tensor norm;
    std::shared_ptr<const formats::RowReader> rows;
    ops::LinearWeight weight;
  };
  StatusOr<Head> open_head(const ModelSource& source) const;
  Status load_part(Head& head, int64_t begin, int64_t count) const;
  Status predict_part(int64_t begin, int64_t count);
  Status predict_sequence(int64_t i, int thread, int64_t first_id);
  Status logits(const ModelSource& source, const Head& head, tensor::Matrix<const float> hidden, int thread,
                tensor::Matrix<float> out);
  void reserve_logits(int64_t part);

  const ModelSource& original_;
  const QuantizedSource& quantized_;
  const TokenSet& all_tokens_;
  const TokenSet tokens_;  // this rank's
  ops::Compute compute_;
  device::ThreadPool& pool_;
  const Shard& shard_;
  HiddenStates hidden_original_, hidden_quantized_;
  BlockWalker walker_;
  Head head_original_, head_quantized_;
  int64_t chunk_ = 0;                   // rows of logits made at a time
  std::vector<eval::PartialRow> rows_;  // [sequences, length - 1]
  struct Workspace {
    tensor::Tensor original, quantized;  // logits
    ops::OperandBuffer normed;
  };
  std::vector<Workspace> workspaces_;  // per thread
};

}  // namespace gridquant::stages
