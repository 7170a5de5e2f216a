// Stage analyze: is this a model we can quantize, and what is in it? Leaves analysis.json. Changes nothing.
#include <algorithm>
#include <atomic>
#include <numeric>
#include <set>
#include <span>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/digest.h"
#include "stages/context.h"
#include "stages/model_source.h"
#include "stages/parallel.h"
#include "stages/shard.h"
#include "stages/weight_statistics.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

json to_json(const model::TensorSpec& spec, const formats::TensorEntry& entry, const WeightStatistics& s) {
  return {{"name", spec.name},
          {"role", model::name_of(spec.role)},
          {"shape", spec.shape},
          {"dtype", std::string(tensor::name_of(entry.dtype))},
          {"parameters", tensor::element_count(spec.shape)},
          {"bytes", entry.bytes},
          {"min", s.min},
          {"max", s.max},
          {"absmax", s.absmax},
          {"mean", s.mean},
          {"std", s.stddev},
          {"kurtosis", s.kurtosis},
          {"outlier_share", s.outlier_share}};
}

// One task each, in the order of `own`.
Status measure_own(StageContext& context, const ModelSource& source, const std::vector<model::TensorSpec>& specs,
                   const std::vector<size_t>& own, std::vector<WeightStatistics>& statistics) {
  const auto total = static_cast<int64_t>(own.size());
  const int64_t batch = 16 * context.pool.threads();  // between two looks at `cancelled`
  for (int64_t begin = 0; begin < total; begin += batch) {
    if (context.cancelled) return absl::CancelledError("asked to stop while reading tensors");
    context.progress.progress(begin, total, "tensor", "weight statistics");
    GQ_RETURN_IF_ERROR(parallel(context.pool, std::min(batch, total - begin), [&](int64_t i, int) -> Status {
      const size_t index = own[static_cast<size_t>(begin + i)];
      GQ_ASSIGN_OR_RETURN(const tensor::Tensor tensor, source.tensors->read(specs[index].name));
      GQ_ASSIGN_OR_RETURN(statistics[index], weight_statistics(specs[index].name, tensor));
      return absl::OkStatus();
    }));
  }
  context.progress.progress(total, total, "tensor", "weight statistics");
  return absl::OkStatus();
}

// Everyone's statistics of the tensors that were dealt to them, to all ranks.
Status share_statistics(comm::Communicator& comm, const std::vector<std::vector<size_t>>& dealt,
                        std::vector<WeightStatistics>& statistics) {
  static_assert(std::is_trivially_copyable_v<WeightStatistics>);
  std::vector<WeightStatistics> in_turn;
  std::vector<size_t> counts;
  for (const std::vector<size_t>& tensors : dealt) {
    for (const size_t index : tensors) in_turn.push_back(statistics[index]);
    counts.push_back(tensors.size() * sizeof(WeightStatistics));
  }
  GQ_RETURN_IF_ERROR(comm.all_gather(std::as_writable_bytes(std::span(in_turn)), counts));
  size_t at = 0;
  for (const std::vector<size_t>& tensors : dealt) {
    for (const size_t index : tensors) statistics[index] = in_turn[at++];
  }
  return absl::OkStatus();
}

// Statistics of every tensor, one task each, the largest first so that no thread is left with it at the end. Over
// ranks: dealt out in turn, in that order.
StatusOr<json> measure_tensors(StageContext& context, const ModelSource& source,
                               const std::vector<model::TensorSpec>& specs) {
  std::vector<size_t> order(specs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return tensor::element_count(specs[a].shape) > tensor::element_count(specs[b].shape);
  });
  const auto ranks = static_cast<size_t>(context.comm.size());
  std::vector<std::vector<size_t>> dealt(ranks);
  for (size_t i = 0; i < order.size(); ++i) dealt[i % ranks].push_back(order[i]);
  const std::vector<size_t>& own = dealt[static_cast<size_t>(context.comm.rank())];
  std::vector<WeightStatistics> statistics(specs.size());
  GQ_RETURN_IF_ERROR(agree(context.comm, measure_own(context, source, specs, own, statistics)));
  GQ_RETURN_IF_ERROR(share_statistics(context.comm, dealt, statistics));
  json tensors = json::array();
  for (size_t i = 0; i < specs.size(); ++i) {
    tensors.push_back(to_json(specs[i], *source.tensors->find(specs[i].name), statistics[i]));
  }
  return tensors;
}

// Paths, sizes and digests of the files that the model consists of: what later stages' keys stand on.
StatusOr<json> digest_files(StageContext& context, const ModelSource& source) {
  json files = json::array();
  for (const std::string& path : source.files) files.push_back({{"path", path}});
  GQ_RETURN_IF_ERROR(parallel(context.pool, static_cast<int64_t>(files.size()), [&](int64_t i, int) -> Status {
    const std::string& path = source.files[i];
    GQ_ASSIGN_OR_RETURN(const uint64_t bytes, context.env.file_size(path));
    GQ_ASSIGN_OR_RETURN(const std::string sha256, base::digest_of_file(context.env, path));
    files[i]["bytes"] = bytes;
    files[i]["sha256"] = sha256;
    return absl::OkStatus();
  }));
  return files;
}

// Tensors of the files that the architecture has no use for. They are not copied into the result.
std::vector<std::string> unknown_tensors(const ModelSource& source, const std::vector<model::TensorSpec>& specs) {
  std::set<std::string> known;
  for (const model::TensorSpec& spec : specs) known.insert(spec.name);
  std::vector<std::string> unknown;
  for (const std::string& name : source.tensors->names()) {
    if (!known.contains(name)) unknown.push_back(name);
  }
  return unknown;
}

void summarize(const ModelSource& source, const std::vector<model::TensorSpec>& specs, json& summary) {
  int64_t parameters = 0;
  uint64_t bytes = 0;
  std::set<std::string> dtypes;
  for (const model::TensorSpec& spec : specs) {
    const formats::TensorEntry* entry = source.tensors->find(spec.name);
    parameters += tensor::element_count(spec.shape);
    bytes += entry->bytes;
    dtypes.insert(std::string(tensor::name_of(entry->dtype)));
  }
  summary = {{"architecture", source.config.architecture},
             {"model", source.path},
             {"parameters", parameters},
             {"bytes", bytes},
             {"dtype", absl::StrJoin(dtypes, "+")},
             {"blocks", source.config.block_count},
             {"hidden_size", source.config.hidden_size},
             {"vocab_size", source.config.vocab_size},
             {"tied_embeddings", source.config.tied_embeddings}};
}

Status write_analysis(StageContext& context, const ModelSource& source, const std::vector<model::TensorSpec>& specs,
                      const json& tensors) {
  GQ_ASSIGN_OR_RETURN(json files, digest_files(context, source));
  const std::vector<std::string> unknown = unknown_tensors(source, specs);
  if (!unknown.empty()) {
    const std::vector<std::string> listed(unknown.begin(), unknown.begin() + std::min<size_t>(unknown.size(), 10));
    context.progress.warning(absl::StrCat(unknown.size(), " tensors are not part of ", source.config.architecture,
                                          " and will not be in the result: ", absl::StrJoin(listed, ", "),
                                          unknown.size() > listed.size() ? ", ..." : ""));
  }
  summarize(source, specs, context.summary);
  const json& with = context.task.with;
  const json analysis = {{"format", 2},
                         {"model", with.at("model")},
                         {"adapter", with.value("adapter", "")},
                         {"summary", context.summary},
                         {"files", std::move(files)},
                         {"tensors", tensors},
                         {"unknown_tensors", unknown}};
  return base::write_file_atomically(context.env, context.path("analysis.json"), analysis.dump(1) + "\n");
}

}  // namespace

Status run_analyze(StageContext& context) {
  const json& with = context.task.with;
  const std::string model = with.at("model").get<std::string>();
  const std::string adapter = with.value("adapter", "");
  GQ_ASSIGN_OR_RETURN(const ModelSource source, open_model(context.env, model, adapter));
  GQ_RETURN_IF_ERROR(check_tensors(source));
  const std::vector<model::TensorSpec> specs = source.all_tensors();
  GQ_ASSIGN_OR_RETURN(const json tensors, measure_tensors(context, source, specs));
  return on_first_rank(context.comm, [&] { return write_analysis(context, source, specs, tensors); });
}

}  // namespace gridquant::stages
