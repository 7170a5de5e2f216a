// The frame of quantize and of its parts.
#include "stages/quantize_run.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "stages/inputs.h"
#include "stages/prefetch.h"
#include "stages/shard.h"

namespace gridquant::stages {

using nlohmann::json;

QuantizeRun::QuantizeRun(StageContext& context, const QuantizeInputs& inputs)
    : context_(context),
      inputs_(inputs),
      prefetch_(context.task.with.at("prefetch").get<bool>()),
      times_(context.clock) {}

Status QuantizeRun::run(const Target& target, const std::function<Status()>& work,
                        const std::function<void()>& summarize) {
  range_ = target.part.value_or(BlockRange{0, inputs_.source.config.block_count});
  context_.summary["layers"] = json::array();
  context_.summary["fallbacks"] = json::array();
  GQ_RETURN_IF_ERROR(on_first_rank(context_.comm, [&] { return open_shards(target); }));
  GQ_RETURN_IF_ERROR(broadcast_number(context_.comm, resumed_));
  const Status worked = work();
  const Status written = shards_ != nullptr ? shards_->wait() : absl::OkStatus();
  GQ_RETURN_IF_ERROR(worked);
  return on_first_rank(context_.comm, [&]() -> Status {
    GQ_RETURN_IF_ERROR(written);
    GQ_ASSIGN_OR_RETURN(const uint64_t bytes, shards_->finish());
    times_.lap("commit");
    summarize_run(bytes);
    summarize();
    context_.progress.progress(blocks(), blocks(), "block", "done");
    return absl::OkStatus();
  });
}

Status QuantizeRun::open_shards(const Target& target) {
  ShardsOptions options;
  options.folder = context_.path(target.folder);
  options.report_folder = context_.path("blocks");
  options.part = target.part;
  GQ_ASSIGN_OR_RETURN(options.key, checkpoint_key(context_, inputs_, target.statistics));
  GQ_ASSIGN_OR_RETURN(shards_, CheckpointShards::open(context_.env, inputs_.source, inputs_.plan, options));
  GQ_RETURN_IF_ERROR(check_disk(context_, *shards_));
  resumed_ = shards_->committed_blocks();
  if (resumed_ > 0) {
    context_.progress.note(absl::StrCat("continuing after ", resumed_, " of ", blocks(), " blocks that are committed"));
  }
  for (int64_t b = range_.begin; b < range_.begin + resumed_; ++b) {
    GQ_RETURN_IF_ERROR(shards_->read_report(b, context_.summary));
  }
  return absl::OkStatus();
}

Status QuantizeRun::commit_outer() {
  return shards_ == nullptr ? absl::OkStatus() : stages::commit_outer(inputs_.source, *shards_);
}

Status QuantizeRun::step(int64_t done, const char* message) {
  GQ_RETURN_IF_ERROR(check_cancelled(context_, absl::StrCat("; ", done, " blocks are committed")));
  context_.progress.progress(done, blocks(), "block", message);
  return absl::OkStatus();
}

Status QuantizeRun::solve_rest(const char* message, const Solve& solve) {
  Prefetcher<LoadedBlock> loader(range_.begin + resumed_, range_.end, prefetch_,
                                 [this](int64_t b) { return load_to_quantize(inputs_.source, inputs_.plan, b); });
  for (int64_t done = resumed_; done < blocks(); ++done) {
    GQ_RETURN_IF_ERROR(step(done, message));
    GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, loader.take());
    times_.lap("read");
    GQ_ASSIGN_OR_RETURN(QuantizedBlock block, solve(std::move(loaded)));
    if (shards_ != nullptr) {
      tell_block(context_, block);
      GQ_RETURN_IF_ERROR(shards_->commit_block(std::move(block)));
    }
    times_.lap("commit");
  }
  return absl::OkStatus();
}

MemorySetting QuantizeRun::memory_setting() const {
  return {.compute = inputs_.compute,
          .threads = context_.pool.threads(),
          .prefetch = prefetch_,
          .ranks = context_.comm.size()};
}

void QuantizeRun::summarize_run(uint64_t bytes) {
  json& summary = context_.summary;
  summary["bytes"] = bytes;
  summary["blocks"] = blocks();
  summary["resumed_blocks"] = resumed_;
  summary["phases"] = times_.seconds();
  summary["compute"] = device::name_of(inputs_.compute);
  summary["threads"] = context_.pool.threads();
  summary["ranks"] = context_.comm.size();
  summary["peak_rss_bytes"] = peak_rss_bytes();
}

}  // namespace gridquant::stages
