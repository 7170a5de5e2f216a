// The quantized checkpoint as quantize makes it: shard 0 holds the tensors outside the blocks, shard 1 + b block b.
// Shards are packed and written on one thread beside the caller, by one rank; committed ones are read back to resume,
// by all.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/formats/checkpoint_writer.h"
#include "stages/block_loop.h"
#include "stages/plan_file.h"
#include "stages/prefetch.h"
#include "stages/site_solver.h"

namespace gridquant::stages {

// Blocks begin .. end - 1.
struct BlockRange {
  int64_t begin = 0;
  int64_t end = 0;
};

struct ShardsOptions {
  std::string folder;         // of the checkpoint
  std::string report_folder;  // block-00003.json: what a resumed run must still tell about block 3
  std::string key;            // same key: same bytes
  // A part of a checkpoint: the shards of these blocks alone. Without it: of all blocks, and shard 0.
  std::optional<BlockRange> part = {};
};
// The file of block `b`, and its report.
std::string shard_file_of(const ModelSource& source, int64_t b);
std::string report_file_of(int64_t b);

class CheckpointShards {
 public:
  static StatusOr<std::unique_ptr<CheckpointShards>> open(base::Env& env, const ModelSource& source, const Plan& plan,
                                                          ShardsOptions options);

  // So many blocks are on disk, whole: the first ones.
  int64_t committed_blocks() const { return committed_ - range_.begin; }
  const BlockRange& range() const { return range_; }
  bool outer_committed() const { return outer_committed_; }
  uint64_t missing_bytes() const;  // of the forecast: what is still to be written

  // Both return at once; an error of an earlier one is returned here or by finish().
  Status commit_outer(std::vector<formats::StreamedTensor> tensors);
  Status commit_block(QuantizedBlock block);
  // Block `b` as a part has made it: its shard, with this digest, and its report. Durable when it returns.
  Status adopt_block(int64_t b, const std::string& shard, const std::string& sha256, const std::string& report);

  // Its layers, fallbacks and experts, appended to the lists of `summary`.
  Status read_report(int64_t b, nlohmann::json& summary) const;

  // Waits for the last shard and completes the folder; a part has nothing to complete. Returns the bytes of all shards.
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
  BlockRange range_;
  int64_t committed_ = 0;  // the first block that is not
  bool outer_committed_ = false;
  Background background_;  // last: waits before the rest goes away
};

// A committed block as quantize used it: quantized weights read back from the checkpoint's `folder`, the rest from the
// model. Needs nothing but the files.
StatusOr<LoadedBlock> read_committed_block(base::Env& env, const ModelSource& source, const Plan& plan,
                                           const std::string& folder, int64_t b);

}  // namespace gridquant::stages
