// Stage quantize: follows plan.json block by block and writes checkpoint/, a Hugging Face folder. Every block is
// committed when it is done; a later attempt goes on after the last committed one and leaves the same bytes, with any
// number of ranks. All ranks hold every block; only the first one writes.
#include "absl/strings/str_cat.h"
#include "engine/base/digest.h"
#include "stages/block_quantizer.h"
#include "stages/checkpoint_shards.h"
#include "stages/context.h"
#include "stages/inputs.h"
#include "stages/memory_forecast.h"
#include "stages/parallel.h"
#include "stages/parameters.h"
#include "stages/phase_times.h"
#include "stages/prefetch.h"
#include "stages/shard.h"
#include "stages/site_statistics.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

constexpr const char* kCheckpoint = "checkpoint";

// Everything that the checkpoint's bytes depend on. Raise the number when the arithmetic here changes.
StatusOr<std::string> checkpoint_key(const StageContext& context, const Plan& plan, const TokenSet& tokens,
                                     ops::Compute compute) {
  GQ_ASSIGN_OR_RETURN(const std::string analyzed, input_folder(context, "analyze"));
  GQ_ASSIGN_OR_RETURN(const std::string model,
                      base::digest_of_file(context.env, base::join_path(analyzed, "analysis.json")));
  return base::digest_of(absl::StrCat("quantize 2\n", context.task.key, "\n", model, "\n", plan_fingerprint(plan), "\n",
                                      tokens.digest, "\n", device::name_of(compute), "\n", context.cpu.kind(), "\n",
                                      quant::blas_core_name()));
}

class Quantization {
 public:
  Quantization(StageContext& context, const ModelSource& source, const Plan& plan, const TokenSet& tokens,
               ops::Compute compute)
      : context_(context),
        source_(source),
        plan_(plan),
        shard_(context.comm, tokens.count(), tokens.length),
        all_tokens_(tokens),
        tokens_(shard_.own_tokens(tokens)),
        compute_(compute),
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
    GQ_ASSIGN_OR_RETURN(options.key, checkpoint_key(context_, plan_, all_tokens_, compute_));
    GQ_ASSIGN_OR_RETURN(shards_, CheckpointShards::open(context_.env, source_, plan_, options));
    GQ_RETURN_IF_ERROR(check_disk());
    resumed_ = shards_->committed_blocks();
    if (resumed_ > 0) {
      context_.progress.note(absl::StrCat("continuing after ", resumed_, " of ", source_.config.block_count,
                                          " blocks that are committed"));
    }
    return tell_resumed();
  }

  Status check_disk() {
    GQ_ASSIGN_OR_RETURN(const uint64_t available, context_.env.free_bytes(context_.task.artifact));
    const uint64_t needed = shards_->missing_bytes();
    if (available >= needed) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat(context_.task.artifact, ": the rest of the checkpoint needs ",
                                                     needed, " bytes, only ", available, " are free"));
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
    if (shards_ == nullptr || shards_->outer_committed()) return absl::OkStatus();
    std::vector<formats::StreamedTensor> outer;
    for (const model::TensorSpec& spec : source_.outer()) {
      GQ_ASSIGN_OR_RETURN(std::unique_ptr<formats::RowReader> rows, source_.tensors->rows(spec.name));
      outer.push_back(formats::streamed(spec.name, std::move(rows)));
    }
    return shards_->commit_outer(std::move(outer));
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

  StatusOr<LoadedBlock> load(int64_t b) const {
    LoadFilter filter;
    filter.raw = [this](const std::string& name) {
      const PlannedTensor* planned = plan_.find(name);
      return planned == nullptr || !planned->quantize;
    };
    return load_block(source_, b, filter);
  }

  // The first rank reports the block and writes it.
  Status finish_block(QuantizedBlock block) {
    if (shards_ == nullptr) return absl::OkStatus();
    tell(block);
    return shards_->commit_block(std::move(block));
  }

  void tell(const QuantizedBlock& block) {
    for (const json& layer : block.layers) context_.summary["layers"].push_back(layer);
    if (!block.experts.is_null()) context_.summary["experts"].push_back(block.experts);
    int64_t starved = 0;
    for (const json& fallback : block.fallbacks) {
      context_.summary["fallbacks"].push_back(fallback);
      if (fallback.contains("expert")) {
        ++starved;
        continue;
      }
      context_.progress.warning(absl::StrCat(fallback.at("tensor").get<std::string>(), ": rounded to nearest, because ",
                                             fallback.at("reason").get<std::string>()));
    }
    // One line for what may be hundreds of tensors; the report has them all.
    if (starved > 0) {
      context_.progress.warning(absl::StrCat("block ", block.index, ": ", starved,
                                             " weights of experts that saw too few ",
                                             "tokens were rounded to nearest with the statistics of all experts; more ",
                                             "calibration text reaches more experts"));
    }
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
    GQ_ASSIGN_OR_RETURN(const std::string calibration, input_folder(context_, "calibrate"));
    GQ_ASSIGN_OR_RETURN(const StatisticsReader statistics, StatisticsReader::open(context_.env, calibration));
    const int64_t blocks = source_.config.block_count;
    Prefetcher<LoadedBlock> loader(resumed_, blocks, prefetch_, [this](int64_t b) { return load(b); });
    for (int64_t b = resumed_; b < blocks; ++b) {
      GQ_RETURN_IF_ERROR(step(b, "rounding"));
      GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, loader.take());
      times_.lap("read");
      GQ_ASSIGN_OR_RETURN(QuantizedBlock block, round_block(std::move(loaded), statistics));
      times_.lap("solve");
      GQ_RETURN_IF_ERROR(finish_block(std::move(block)));
      times_.lap("commit");
    }
    return absl::OkStatus();
  }

  StatusOr<QuantizedBlock> round_block(LoadedBlock loaded, const StatisticsReader& statistics) {
    QuantizedBlock block;
    block.index = loaded.index;
    block.kept = std::move(loaded.raw);
    for (const model::SiteSpec& site : source_.architecture->sites(source_.config, loaded.index)) {
      const std::vector<model::SitePart> parts = model::parts_of(site);
      for (const model::SitePart& part : parts) {
        std::vector<float> diagonal;
        if (!statistics.empty()) {
          GQ_ASSIGN_OR_RETURN(diagonal, weights_of_search(loaded.index, {site, parts, part}, statistics, block));
        }
        GQ_RETURN_IF_ERROR(round_part(part, diagonal, loaded, block));
      }
    }
    return block;
  }

  struct PartOfSite {
    const model::SiteSpec& site;
    const std::vector<model::SitePart>& parts;
    const model::SitePart& part;
  };

  // What calibrate measured for the part; of an expert that saw too few tokens, for all experts.
  StatusOr<std::vector<float>> weights_of_search(int64_t b, const PartOfSite& of, const StatisticsReader& statistics,
                                                 QuantizedBlock& block) {
    if (of.part.expert >= 0) {
      GQ_ASSIGN_OR_RETURN(const int64_t tokens, statistics.tokens(b, of.part));
      if (of.part.expert == 0) block.experts = {{"block", b}, {"tokens", json::array()}};
      block.experts["tokens"].push_back(tokens);
      if (tokens < min_tokens(of.site.width)) return statistics.diagonal(b, of.parts);
    }
    return statistics.diagonal(b, {&of.part, 1});
  }

  Status round_part(const model::SitePart& part, std::span<const float> diagonal, LoadedBlock& loaded,
                    QuantizedBlock& block) {
    for (const std::string& name : part.weights) {
      const PlannedTensor* planned = plan_.find(name);
      if (planned == nullptr || !planned->quantize) continue;
      GQ_ASSIGN_OR_RETURN(LoadedWeight stored, loaded.take(name));
      GQ_ASSIGN_OR_RETURN(const RowSolver solver, RowSolver::make(context_.comm, std::move(stored), {}, context_.pool));
      GQ_ASSIGN_OR_RETURN(quant::SolveResult solved, solver.solve([&](tensor::Matrix<const float> rows) {
        return quant::solve_rtn(rows, diagonal, plan_.options, context_.pool);
      }));
      const double error = solved.weight_energy > 0 ? solved.weighted_error / solved.weight_energy : 0;
      block.layers.push_back({{"block", loaded.index}, {"tensor", name}, {"relative_error", error}});
      block.weights.emplace_back(name, std::move(solved.weight));
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
  const ModelSource& source_;
  const Plan& plan_;
  Shard shard_;
  const TokenSet& all_tokens_;
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
  GQ_ASSIGN_OR_RETURN(const ops::Compute compute,
                      device::resolve_compute(context.task.with.at("compute").get<std::string>(), context.cpu));
  GQ_ASSIGN_OR_RETURN(const ModelSource source, open_analyzed_model(context));
  GQ_ASSIGN_OR_RETURN(const std::string plan_folder, input_folder(context, "plan"));
  GQ_ASSIGN_OR_RETURN(const Plan plan, read_plan(context.env, plan_folder));
  if (plan.model != source.path) {
    return absl::InvalidArgumentError(
        absl::StrCat("plan was made for ", plan.model, ", analyze looked at ", source.path));
  }
  GQ_ASSIGN_OR_RETURN(const std::string calibration, input_folder(context, "calibrate"));
  GQ_ASSIGN_OR_RETURN(const TokenSet tokens, read_tokens(context.env, calibration));
  Quantization quantization(context, source, plan, tokens, compute);
  return quantization.run();
}

}  // namespace gridquant::stages
