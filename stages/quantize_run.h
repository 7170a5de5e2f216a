// The frame of a stage that quantizes blocks, quantize or a part of it: opens its shards where an earlier attempt left
// them, solves the blocks that are left, one after the other, and completes the shards whatever happened. Not here: how
// a block is solved. The joining stage solves nothing and has no such run.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "stages/memory_forecast.h"
#include "stages/phase_times.h"
#include "stages/quantize_parts.h"

namespace gridquant::stages {

// Every rank has one and makes the same calls in the same order; only the first one has shards, reports and writes.
// Used from one thread. What it borrows must outlive it.
class QuantizeRun {
 public:
  struct Target {
    std::string folder;                   // of the shards, inside the artifact
    std::string statistics;               // a digest of what calibrate left: see checkpoint_key
    std::optional<BlockRange> part = {};  // without it: all blocks, and what lies outside them
  };
  using Solve = std::function<StatusOr<QuantizedBlock>(LoadedBlock)>;

  QuantizeRun(StageContext& context, const QuantizeInputs& inputs);

  // Opens the shards, calls `work`, completes the shards, writes the summary and has `summarize` add to it (on the
  // first rank). If `work` fails or was cancelled, what is being written is still brought to its end: a later attempt
  // starts after it.
  Status run(const Target& target, const std::function<Status()>& work, const std::function<void()>& summarize);

  // What follows is for `work`.

  // So many of the range's first blocks were committed by an earlier attempt; of how many.
  int64_t resumed() const { return resumed_; }
  int64_t blocks() const { return range_.end - range_.begin; }
  // What lies outside the blocks, as shard 0, beside the work that follows.
  Status commit_outer();
  // Solves and commits the blocks that are left. Cancelled between two of them.
  Status solve_rest(const char* message, const Solve& solve);
  // Progress before a block, `done` of the range's being done. Cancelled, on all ranks.
  Status step(int64_t done, const char* message);

  bool prefetch() const { return prefetch_; }
  PhaseTimes& times() { return times_; }
  // How this run uses memory; the hidden states' budget is not set.
  MemorySetting memory_setting() const;

 private:
  Status open_shards(const Target& target);
  void summarize_run(uint64_t bytes);

  StageContext& context_;
  const QuantizeInputs& inputs_;
  bool prefetch_;
  PhaseTimes times_;
  BlockRange range_;
  std::unique_ptr<CheckpointShards> shards_;  // of the first rank; else null
  int64_t resumed_ = 0;
};

}  // namespace gridquant::stages
