// The quantized checkpoint as quantize makes it: shard 0 holds the tensors outside the blocks, shard 1 + b block b.
// Shards are packed and written on one thread beside the caller, by one rank; committed ones are read back to resume,
// by all.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/formats/checkpoint_writer.h"
#include "stages/block_loop.h"
#include "stages/block_quantizer.h"
#include "stages/plan_file.h"
#include "stages/prefetch.h"

namespace gridquant::stages {

struct ShardsOptions {
  std::string folder;         // of the checkpoint
  std::string report_folder;  // block-00003.json: what a resumed run must still tell about block 3
  std::string key;            // same key: same bytes
};

class CheckpointShards {
 public:
  static StatusOr<std::unique_ptr<CheckpointShards>> open(base::Env& env, const ModelSource& source, const Plan& plan,
                                                          ShardsOptions options);

  // Blocks 0 .. n - 1 are on disk, whole.
  int64_t committed_blocks() const { return committed_blocks_; }
  bool outer_committed() const { return outer_committed_; }
  uint64_t missing_bytes() const;  // of the forecast: what is still to be written

  // Both return at once; an error of an earlier one is returned here or by finish().
  Status commit_outer(std::vector<formats::StreamedTensor> tensors);
  Status commit_block(QuantizedBlock block);

  // Its layers, fallbacks and experts, appended to the lists of `summary`.
  Status read_report(int64_t b, nlohmann::json& summary) const;

  // Waits for the last shard and completes the folder. Returns the bytes of all shards.
  StatusOr<uint64_t> finish();
  // Waits for what is being written; for a run that stops early.
  Status wait() { return background_.wait(); }

 private:
  CheckpointShards(base::Env& env, const ModelSource& source, const Plan& plan, ShardsOptions options,
                   formats::CheckpointWriter writer);
  Status write_block(QuantizedBlock& block);
  std::string report_path(int64_t b) const;

  base::Env& env_;
  const ModelSource& source_;
  const Plan& plan_;
  ShardsOptions options_;
  formats::CheckpointWriter writer_;
  int64_t committed_blocks_ = 0;
  bool outer_committed_ = false;
  Background background_;  // last: waits before the rest goes away
};

// A committed block as quantize used it: quantized weights read back from the checkpoint's `folder`, the rest from the
// model. Needs nothing but the files.
StatusOr<LoadedBlock> read_committed_block(base::Env& env, const ModelSource& source, const Plan& plan,
                                           const std::string& folder, int64_t b);

}  // namespace gridquant::stages
