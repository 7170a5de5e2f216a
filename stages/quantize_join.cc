// The quantize stage where its blocks were quantized by parts (`parallelism: blocks`): checks the parts' shards, links
// them, writes what lies outside the blocks, and completes the checkpoint. Its result does not show how many parts
// there were. Not here: solving.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "stages/catalog/catalog.h"
#include "stages/inputs.h"
#include "stages/phase_times.h"
#include "stages/quantize_parts.h"
#include "stages/shard.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

// A part's artifact, verified.
struct Part {
  std::string folder;
  Artifact artifact;
  BlockRange range;
};

class Joining {
 public:
  Joining(StageContext& context, const QuantizeInputs& inputs)
      : context_(context), inputs_(inputs), times_(context.clock) {}

  Status run() {
    GQ_RETURN_IF_ERROR(read_parts());
    times_.lap("verify");
    ShardsOptions options;
    options.folder = context_.path(kCheckpoint);
    options.report_folder = context_.path("blocks");
    GQ_ASSIGN_OR_RETURN(options.key, checkpoint_key(context_, inputs_, "parts"));
    GQ_ASSIGN_OR_RETURN(const auto shards, CheckpointShards::open(context_.env, inputs_.source, inputs_.plan, options));
    GQ_RETURN_IF_ERROR(commit_outer(inputs_.source, *shards));
    GQ_RETURN_IF_ERROR(shards->wait());
    context_.summary["layers"] = json::array();
    context_.summary["fallbacks"] = json::array();
    for (const Part& part : parts_) GQ_RETURN_IF_ERROR(adopt(part, *shards));
    GQ_ASSIGN_OR_RETURN(const uint64_t bytes, shards->finish());
    times_.lap("commit");
    summarize(bytes);
    return absl::OkStatus();
  }

 private:
  // DataLoss, which has the part made again: it is damaged, or the blocks of all parts are not those of the model.
  Status read_parts() {
    int64_t next = 0;
    for (const auto& [input, folder] : context_.task.inputs) {
      if (!is_part_input(input)) continue;
      GQ_ASSIGN_OR_RETURN(Artifact artifact, read_artifact(context_.env, folder));
      GQ_RETURN_IF_ERROR(verify_artifact(context_.env, folder, artifact, /*digests=*/true));
      const int64_t begin = number(artifact, "first_block");
      const int64_t end = begin + number(artifact, "blocks");
      if (begin != next || end < begin || end > inputs_.source.config.block_count) {
        return absl::DataLossError(
            absl::StrCat(folder, ": has the blocks ", begin, " to ", end, ", where ", next, " should be the first"));
      }
      next = end;
      parts_.push_back({folder, std::move(artifact), {begin, end}});
    }
    if (next == inputs_.source.config.block_count) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat("the parts end with block ", next, " of ", inputs_.source.config.block_count));
  }

  static int64_t number(const Artifact& artifact, const char* key) {
    const auto found = artifact.summary.find(key);
    return found != artifact.summary.end() && found->is_number_integer() ? found->get<int64_t>() : -1;
  }

  Status adopt(const Part& part, CheckpointShards& shards) {
    std::map<std::string, std::string> digests;
    for (const ArtifactFile& file : part.artifact.files) digests[file.path] = file.sha256;
    for (int64_t b = part.range.begin; b < part.range.end; ++b) {
      if (context_.cancelled) return absl::CancelledError("asked to stop");  // not agreed on: the other ranks wait
      context_.progress.progress(b, inputs_.source.config.block_count, "block", "joining");
      const std::string shard = absl::StrCat("shards/", shard_file_of(inputs_.source, b));
      if (!digests.contains(shard)) {
        return absl::DataLossError(absl::StrCat(part.folder, ": has no ", shard));
      }
      GQ_RETURN_IF_ERROR(shards.adopt_block(b, base::join_path(part.folder, shard), digests.at(shard),
                                            base::join_path(part.folder, "blocks/" + report_file_of(b))));
      GQ_RETURN_IF_ERROR(shards.read_report(b, context_.summary));
    }
    return absl::OkStatus();
  }

  // As quantize's own; where it was done by parts, their sum or the most of any.
  void summarize(uint64_t bytes) {
    json& summary = context_.summary;
    describe_checkpoint(inputs_, summary);
    summary["parallelism"] = "blocks";
    summary["parts"] = parts_.size();
    summary["bytes"] = bytes;
    summary["blocks"] = inputs_.source.config.block_count;
    summary["compute"] = device::name_of(inputs_.compute);
    summary["peak_rss_bytes"] = peak_rss_bytes();
    summary["spilled_bytes"] = 0;
    summary["resumed_blocks"] = 0;
    json phases = times_.seconds();
    for (const Part& part : parts_) {
      summary["resumed_blocks"] = summary["resumed_blocks"].get<int64_t>() + number(part.artifact, "resumed_blocks");
      for (const char* key : {"threads", "ranks", "memory_forecast_bytes", "peak_rss_bytes"}) {
        summary[key] = std::max(summary.value(key, int64_t{0}), number(part.artifact, key));
      }
      const auto of_part = part.artifact.summary.find("phases");
      if (of_part == part.artifact.summary.end() || !of_part->is_object()) continue;
      for (const auto& [phase, seconds] : of_part->items()) {
        if (seconds.is_number()) phases[phase] = phases.value(phase, 0.0) + seconds.get<double>();
      }
    }
    summary["phases"] = std::move(phases);
    const int64_t blocks = inputs_.source.config.block_count;
    context_.progress.progress(blocks, blocks, "block", "done");
  }

  StageContext& context_;
  const QuantizeInputs& inputs_;
  PhaseTimes times_;
  std::vector<Part> parts_;
};

}  // namespace

Status run_quantize_join(StageContext& context) {
  GQ_ASSIGN_OR_RETURN(const QuantizeInputs inputs, read_quantize_inputs(context));
  return Joining(context, inputs).run();
}

}  // namespace gridquant::stages
