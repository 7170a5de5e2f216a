// Stage quantize: follows plan.json block by block and writes checkpoint/, a Hugging Face folder. Every block is
// committed when it is done; a later attempt goes on after the last committed one and leaves the same bytes, with any
// number of ranks. All ranks hold every block; only the first one writes.
#include "absl/strings/str_cat.h"
#include "stages/block_quantizer.h"
#include "stages/inputs.h"
#include "stages/memory_forecast.h"
#include "stages/parallel.h"
#include "stages/parameters.h"
#include "stages/phase_times.h"
#include "stages/prefetch.h"
#include "stages/quantize_parts.h"
#include "stages/shard.h"
#include "stages/stored_block_solver.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

constexpr const char* kCheckpoint = "checkpoint";

class Quantization {
 public:
  Quantization(StageContext& context, const QuantizeInputs& inputs, const TokenSet& tokens)
      : context_(context),
        inputs_(inputs),
        source_(inputs.source),
        plan_(inputs.plan),
        shard_(context.comm, tokens.count(), tokens.length),
        tokens_digest_(tokens.digest),
        tokens_(shard_.own_tokens(tokens)),
        compute_(inputs.compute),
        prefetch_(context.task.with.at("prefetch").get<bool>()),
        budget_(context.env, context.task.artifact, size_parameter(context.task.with, "hiddenStatesBudget")),
        times_(context.clock) {}

  Status run() {
    context_.summary["layers"] = json::array();
    context_.summary["fallbacks"] = json::array();
    GQ_RETURN_IF_ERROR(on_first_rank(context_.comm, [this] { return open_shards(); }));
    GQ_RETURN_IF_ERROR(broadcast_number(context_.comm, resumed_));
    const Status status = plan_.solver == "rtn" ? round_blocks() : solve_blocks();
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
  Status open_shards() {
    ShardsOptions options;
    options.folder = context_.path(kCheckpoint);
    options.report_folder = context_.path("blocks");
    GQ_ASSIGN_OR_RETURN(options.key, checkpoint_key(context_, inputs_, tokens_digest_));
    GQ_ASSIGN_OR_RETURN(shards_, CheckpointShards::open(context_.env, source_, plan_, options));
    GQ_RETURN_IF_ERROR(check_disk(context_, *shards_));
    resumed_ = shards_->committed_blocks();
    if (resumed_ > 0) {
      context_.progress.note(absl::StrCat("continuing after ", resumed_, " of ", source_.config.block_count,
                                          " blocks that are committed"));
    }
    return tell_resumed();
  }

  Status step(int64_t b, const char* what) {
    GQ_RETURN_IF_ERROR(check_cancelled(context_, absl::StrCat("; ", b, " blocks are committed")));
    context_.progress.progress(b, source_.config.block_count, "block", what);
    return absl::OkStatus();
  }

  // What lies outside the blocks goes from file to file as shard 0 beside the first block's work.
  Status start(HiddenStates* hidden) {
    if (hidden != nullptr) GQ_RETURN_IF_ERROR(embed_tokens(source_, tokens_, context_.pool, *hidden));
    times_.lap("forward");
    return shards_ == nullptr ? absl::OkStatus() : commit_outer(source_, *shards_);
  }

  // Committed blocks: their outputs are the next block's inputs. No Hessian, no solving.
  Status replay(HiddenStates& hidden) {
    BlockWalker walker(source_, compute_, tokens_.length, context_.pool);
    Prefetcher<LoadedBlock> loader(0, resumed_, prefetch_, [this](int64_t b) {
      return read_committed_block(context_.env, source_, plan_, context_.path(kCheckpoint), b);
    });
    for (int64_t b = 0; b < resumed_; ++b) {
      GQ_RETURN_IF_ERROR(step(b, "rebuilding hidden states"));
      GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, loader.take());
      times_.lap("read");
      GQ_ASSIGN_OR_RETURN(const std::unique_ptr<model::Block> block,
                          make_complete_block(source_, compute_, std::move(loaded), context_.pool));
      GQ_RETURN_IF_ERROR(walker.walk_all(*block, b, hidden));
      times_.lap("replay");
    }
    return absl::OkStatus();
  }

  StatusOr<LoadedBlock> load(int64_t b) const { return load_to_quantize(source_, plan_, b); }

  // The first rank reports the block and writes it.
  Status finish_block(QuantizedBlock block) {
    if (shards_ == nullptr) return absl::OkStatus();
    tell_block(context_, block);
    return shards_->commit_block(std::move(block));
  }

  Status tell_resumed() {
    for (int64_t b = 0; b < resumed_; ++b) GQ_RETURN_IF_ERROR(shards_->read_report(b, context_.summary));
    return absl::OkStatus();
  }

  Status solve_blocks() {
    const int64_t blocks = source_.config.block_count;
    if (resumed_ == blocks) return start(nullptr);
    GQ_ASSIGN_OR_RETURN(HiddenStates hidden, HiddenStates::make(budget_, "hidden", tokens_.count(), tokens_.length,
                                                                source_.config.hidden_size));
    GQ_RETURN_IF_ERROR(start(&hidden));
    GQ_RETURN_IF_ERROR(replay(hidden));
    BlockQuantizer quantizer(source_, plan_, compute_, {context_.pool, times_, budget_, shard_});
    Prefetcher<LoadedBlock> loader(resumed_, blocks, prefetch_, [this](int64_t b) { return load(b); });
    for (int64_t b = resumed_; b < blocks; ++b) {
      GQ_RETURN_IF_ERROR(step(b, "quantizing"));
      GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, loader.take());
      times_.lap("read");
      GQ_ASSIGN_OR_RETURN(QuantizedBlock block, quantizer.quantize(std::move(loaded), hidden));
      GQ_RETURN_IF_ERROR(finish_block(std::move(block)));
      times_.lap("commit");
    }
    return absl::OkStatus();
  }

  // Plain rounding needs no forward pass: what it may need of the inputs, calibrate has measured.
  Status round_blocks() {
    GQ_RETURN_IF_ERROR(start(nullptr));
    GQ_ASSIGN_OR_RETURN(StoredBlockSolver solver,
                        StoredBlockSolver::open(context_.env, inputs_.calibration, source_, plan_,
                                                {context_.comm, context_.pool, times_}));
    const int64_t blocks = source_.config.block_count;
    Prefetcher<LoadedBlock> loader(resumed_, blocks, prefetch_, [this](int64_t b) { return load(b); });
    for (int64_t b = resumed_; b < blocks; ++b) {
      GQ_RETURN_IF_ERROR(step(b, "rounding"));
      GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, loader.take());
      times_.lap("read");
      GQ_ASSIGN_OR_RETURN(QuantizedBlock block, solver.solve(std::move(loaded)));
      GQ_RETURN_IF_ERROR(finish_block(std::move(block)));
      times_.lap("commit");
    }
    return absl::OkStatus();
  }

  void summarize(uint64_t bytes) {
    json& summary = context_.summary;
    summary["checkpoint"] = kCheckpoint;
    summary["bytes"] = bytes;
    summary["original_bytes"] = plan_.forecast.original_bytes;
    summary["forecast_bytes"] = plan_.forecast.checkpoint_bytes;
    summary["blocks"] = source_.config.block_count;
    summary["resumed_blocks"] = resumed_;
    summary["quantized_tensors"] = plan_.quantized_count();
    summary["phases"] = times_.seconds();
    summary["compute"] = device::name_of(compute_);
    summary["threads"] = context_.pool.threads();
    summary["ranks"] = context_.comm.size();
    summary["memory_forecast_bytes"] = forecast_memory(source_, plan_, tokens_, memory_setting());
    summary["spilled_bytes"] = budget_.spilled_bytes();
    summary["peak_rss_bytes"] = peak_rss_bytes();
    context_.progress.progress(source_.config.block_count, source_.config.block_count, "block", "done");
  }

  MemorySetting memory_setting() const {
    return {compute_, context_.pool.threads(), size_parameter(context_.task.with, "hiddenStatesBudget"), prefetch_,
            context_.comm.size()};
  }

  StageContext& context_;
  const QuantizeInputs& inputs_;
  const ModelSource& source_;
  const Plan& plan_;
  Shard shard_;
  std::string tokens_digest_;
  TokenSet tokens_;  // this rank's
  ops::Compute compute_;
  bool prefetch_;
  ActivationBudget budget_;
  PhaseTimes times_;
  std::unique_ptr<CheckpointShards> shards_;  // of the first rank; else null
  int64_t resumed_ = 0;
};

}  // namespace

Status run_quantize(StageContext& context) {
  GQ_ASSIGN_OR_RETURN(const QuantizeInputs inputs, read_quantize_inputs(context));
  GQ_ASSIGN_OR_RETURN(const TokenSet tokens, read_tokens(context.env, inputs.calibration));
  Quantization quantization(context, inputs, tokens);
  return quantization.run();
}

}  // namespace gridquant::stages
