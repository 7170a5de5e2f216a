// Shards of the quantized checkpoint, written in the background and read back. Not here: making their content.
#include "stages/checkpoint_shards.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/gptq.h"
#include "stages/parallel.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;


std::string module_of(const std::string& name) {
  return name.substr(0, name.size() - formats::kWeightSuffix.size());
}

int shard_of(int64_t b) {
  return static_cast<int>(b) + 1;
}

int shard_count(const ModelSource& source) {
  return static_cast<int>(source.config.block_count) + 1;
}

}  // namespace

std::string shard_file_of(const ModelSource& source, int64_t b) {
  return formats::shard_file_name(shard_of(b), shard_count(source));
}

std::string report_file_of(int64_t b) {
  return absl::StrFormat("block-%05d.json", b);
}

CheckpointShards::CheckpointShards(base::Env& env, const ModelSource& source, const Plan& plan, ShardsOptions options,
                                   formats::CheckpointWriter writer)
    : env_(env), source_(source), plan_(plan), options_(std::move(options)), writer_(std::move(writer)) {
  range_ = options_.part.value_or(BlockRange{0, source_.config.block_count});
  committed_ = range_.begin;
  outer_committed_ = writer_.is_committed(0);
  // A block counts only if its report is there too: it is written first, so this fails only after a hand's work.
  while (committed_ < range_.end && writer_.is_committed(shard_of(committed_)) &&
         env_.exists(report_path(committed_))) {
    ++committed_;
  }
}

StatusOr<std::unique_ptr<CheckpointShards>> CheckpointShards::open(base::Env& env, const ModelSource& source,
                                                                   const Plan& plan, ShardsOptions options) {
  GQ_RETURN_IF_ERROR(env.make_folders(options.report_folder));
  formats::CheckpointWriterOptions writer_options;
  writer_options.folder = options.folder;
  writer_options.shard_count = shard_count(source);
  writer_options.key = options.key;
  GQ_ASSIGN_OR_RETURN(formats::CheckpointWriter writer, formats::CheckpointWriter::open(env, writer_options));
  return std::unique_ptr<CheckpointShards>(
      new CheckpointShards(env, source, plan, std::move(options), std::move(writer)));
}

uint64_t CheckpointShards::missing_bytes() const {
  uint64_t bytes = 0;
  for (size_t i = 0; i < plan_.forecast.shard_bytes.size(); ++i) {
    const auto block = static_cast<int64_t>(i) - 1;
    const bool ours = block < 0 ? !options_.part : block >= range_.begin && block < range_.end;
    if (ours && !writer_.is_committed(static_cast<int>(i))) bytes += plan_.forecast.shard_bytes[i];
  }
  return bytes;
}

std::string CheckpointShards::report_path(int64_t b) const {
  return base::join_path(options_.report_folder, report_file_of(b));
}

Status CheckpointShards::commit_outer(std::vector<formats::StreamedTensor> tensors) {
  auto shared = std::make_shared<std::vector<formats::StreamedTensor>>(std::move(tensors));
  return background_.start([this, shared] { return guard_memory([&] { return writer_.commit_shard(0, *shared); }); });
}

Status CheckpointShards::commit_block(QuantizedBlock block) {
  auto shared = std::make_shared<QuantizedBlock>(std::move(block));
  return background_.start([this, shared] { return guard_memory([&] { return write_block(*shared); }); });
}

Status CheckpointShards::write_block(QuantizedBlock& block) {
  std::vector<formats::NamedTensor> tensors;
  for (auto& [name, weight] : block.weights) {
    const quant::QuantizedWeight codes = std::move(weight);  // gone when they are packed
    GQ_ASSIGN_OR_RETURN(std::vector<formats::NamedTensor> parts, formats::to_gptq(module_of(name), codes));
    for (formats::NamedTensor& part : parts) tensors.push_back(std::move(part));
  }
  for (formats::NamedTensor& kept : block.kept) tensors.push_back(std::move(kept));
  // First the report, then the shard: a committed shard always has its report.
  json report = {{"format", 1}, {"block", block.index}, {"layers", block.layers}, {"fallbacks", block.fallbacks}};
  if (!block.experts.is_null()) report["experts"] = block.experts;
  GQ_RETURN_IF_ERROR(base::write_file_atomically(env_, report_path(block.index), report.dump(1) + "\n"));
  return writer_.commit_shard(shard_of(block.index), tensors);
}

Status CheckpointShards::adopt_block(int64_t b, const std::string& shard, const std::string& sha256,
                                     const std::string& report) {
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env_, report));
  GQ_RETURN_IF_ERROR(base::write_file_atomically(env_, report_path(b), text));
  return writer_.adopt_shard(shard_of(b), shard, sha256);
}

StatusOr<LoadedBlock> read_committed_block(base::Env& env, const ModelSource& source, const Plan& plan,
                                           const std::string& folder, int64_t b) {
  const auto quantized = [&plan](const std::string& name) {
    const PlannedTensor* planned = plan.find(name);
    return planned != nullptr && planned->quantize;
  };
  LoadFilter filter;
  filter.weight = [&](const std::string& name) { return !quantized(name); };
  GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, load_block(source, b, filter));
  GQ_ASSIGN_OR_RETURN(const formats::Checkpoint shard,
                      formats::Checkpoint::open_shards(env, folder, {shard_file_of(source, b)}));
  for (const model::TensorSpec& spec : source.block(b)) {
    if (!quantized(spec.name)) continue;
    GQ_ASSIGN_OR_RETURN(formats::GptqWeight packed,
                        formats::read_gptq(shard, module_of(spec.name), plan.options.grid.bits));
    loaded.weights.emplace(spec.name, deferred(std::move(packed)));
  }
  return loaded;
}

Status CheckpointShards::read_report(int64_t b, json& summary) const {
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env_, report_path(b)));
  const json report = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object() || !report.contains("layers") || !report.contains("fallbacks")) {
    return absl::DataLossError(absl::StrCat(report_path(b), ": is not the report of a block"));
  }
  for (const json& layer : report["layers"]) summary["layers"].push_back(layer);
  for (const json& fallback : report["fallbacks"]) summary["fallbacks"].push_back(fallback);
  if (report.contains("experts")) summary["experts"].push_back(report["experts"]);
  return absl::OkStatus();
}

StatusOr<uint64_t> CheckpointShards::finish() {
  GQ_RETURN_IF_ERROR(background_.wait());
  if (options_.part) return writer_.file_bytes();
  GQ_ASSIGN_OR_RETURN(std::string config_json, source_.texts->read("config.json"));
  formats::GptqSettings settings;
  settings.grid = plan_.options.grid;
  settings.act_order = plan_.options.act_order;
  settings.damp_percent = plan_.options.damp_percent;
  settings.model_name = base::file_name_of(source_.path);
  settings.excluded_modules = plan_.excluded_modules();
  formats::FinishOptions finish;
  finish.companions = source_.texts;
  finish.config_json = std::move(config_json);
  finish.quantization_config = formats::gptq_quantization_config(settings);
  GQ_RETURN_IF_ERROR(writer_.finish(finish));
  return writer_.file_bytes();
}

}  // namespace gridquant::stages
