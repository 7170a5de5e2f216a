// Stage quantize-part: one of the parts of a quantize stage with `parallelism: blocks`. Solves a range of blocks from
// what calibrate stored and leaves their shards as the finished checkpoint has them, in shards/, and their reports in
// blocks/. A part that has no blocks leaves neither.
#include "absl/strings/str_cat.h"
#include "stages/catalog/catalog.h"
#include "stages/inputs.h"
#include "stages/memory_forecast.h"
#include "stages/parallel.h"
#include "stages/phase_times.h"
#include "stages/prefetch.h"
#include "stages/quantize_parts.h"
#include "stages/shard.h"
#include "stages/stored_block_solver.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

// The blocks of part number `part` of `parts`, from 1.
BlockRange range_of(int64_t blocks, int64_t part, int64_t parts) {
  return {blocks * (part - 1) / parts, blocks * part / parts};
}

class PartQuantization {
 public:
  PartQuantization(StageContext& context, const QuantizeInputs& inputs)
      : context_(context),
        inputs_(inputs),
        part_(context.task.with.at("part").get<int64_t>()),
        parts_(context.task.with.at("parts").get<int64_t>()),
        range_(range_of(inputs.source.config.block_count, part_, parts_)),
        prefetch_(context.task.with.at("prefetch").get<bool>()),
        times_(context.clock) {}

  Status run() {
    if (part_ > parts_) {
      return absl::InvalidArgumentError(absl::StrCat("part ", part_, " of ", parts_, ": there is no such part"));
    }
    context_.summary["layers"] = json::array();
    context_.summary["fallbacks"] = json::array();
    GQ_ASSIGN_OR_RETURN(StoredBlockSolver solver,
                        StoredBlockSolver::open(context_.env, inputs_.calibration, inputs_.source, inputs_.plan,
                                                {context_.comm, context_.pool, times_}));
    GQ_RETURN_IF_ERROR(on_first_rank(context_.comm, [&] { return open_shards(solver.digest()); }));
    GQ_RETURN_IF_ERROR(broadcast_number(context_.comm, resumed_));
    const Status status = solve_blocks(solver);
    // Whatever happened, the shard that is being written is brought to its end: a later attempt starts after it.
    const Status written = shards_ != nullptr ? shards_->wait() : absl::OkStatus();
    GQ_RETURN_IF_ERROR(status);
    return on_first_rank(context_.comm, [&]() -> Status {
      GQ_RETURN_IF_ERROR(written);
      GQ_ASSIGN_OR_RETURN(const uint64_t bytes, shards_->finish());
      times_.lap("commit");
      summarize(bytes);
      return absl::OkStatus();
    });
  }

 private:
  Status open_shards(const std::string& statistics) {
    ShardsOptions options;
    options.folder = context_.path("shards");
    options.report_folder = context_.path("blocks");
    options.part = range_;
    GQ_ASSIGN_OR_RETURN(options.key, checkpoint_key(context_, inputs_, statistics));
    GQ_ASSIGN_OR_RETURN(shards_, CheckpointShards::open(context_.env, inputs_.source, inputs_.plan, options));
    GQ_RETURN_IF_ERROR(check_disk(context_, *shards_));
    resumed_ = shards_->committed_blocks();
    if (resumed_ > 0) {
      context_.progress.note(
          absl::StrCat("continuing after ", resumed_, " of ", blocks(), " blocks that are committed"));
    }
    for (int64_t b = range_.begin; b < range_.begin + resumed_; ++b) {
      GQ_RETURN_IF_ERROR(shards_->read_report(b, context_.summary));
    }
    return absl::OkStatus();
  }

  Status solve_blocks(StoredBlockSolver& solver) {
    Prefetcher<LoadedBlock> loader(range_.begin + resumed_, range_.end, prefetch_,
                                   [this](int64_t b) { return load_to_quantize(inputs_.source, inputs_.plan, b); });
    for (int64_t done = resumed_; done < blocks(); ++done) {
      GQ_RETURN_IF_ERROR(check_cancelled(context_, absl::StrCat("; ", done, " blocks are committed")));
      context_.progress.progress(done, blocks(), "block", "quantizing");
      GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, loader.take());
      times_.lap("read");
      GQ_ASSIGN_OR_RETURN(QuantizedBlock block, solver.solve(std::move(loaded)));
      if (shards_ != nullptr) {
        tell_block(context_, block);
        GQ_RETURN_IF_ERROR(shards_->commit_block(std::move(block)));
      }
      times_.lap("commit");
    }
    return absl::OkStatus();
  }

  void summarize(uint64_t bytes) {
    json& summary = context_.summary;
    summary["part"] = part_;
    summary["parts"] = parts_;
    summary["first_block"] = range_.begin;
    summary["blocks"] = blocks();
    summary["bytes"] = bytes;
    summary["resumed_blocks"] = resumed_;
    summary["phases"] = times_.seconds();
    summary["compute"] = device::name_of(inputs_.compute);
    summary["threads"] = context_.pool.threads();
    summary["ranks"] = context_.comm.size();
    summary["memory_forecast_bytes"] = forecast_memory(inputs_.source, inputs_.plan, {}, memory_setting());
    summary["peak_rss_bytes"] = peak_rss_bytes();
    context_.progress.progress(blocks(), blocks(), "block", "done");
  }

  MemorySetting memory_setting() const {
    return {.compute = inputs_.compute,
            .threads = context_.pool.threads(),
            .prefetch = prefetch_,
            .ranks = context_.comm.size(),
            .forward = false};
  }

  int64_t blocks() const { return range_.end - range_.begin; }

  StageContext& context_;
  const QuantizeInputs& inputs_;
  int64_t part_;
  int64_t parts_;
  BlockRange range_;
  bool prefetch_;
  PhaseTimes times_;
  std::unique_ptr<CheckpointShards> shards_;  // of the first rank; else null
  int64_t resumed_ = 0;
};

}  // namespace

Status run_quantize_part(StageContext& context) {
  GQ_ASSIGN_OR_RETURN(const QuantizeInputs inputs, read_quantize_inputs(context));
  return PartQuantization(context, inputs).run();
}

}  // namespace gridquant::stages
