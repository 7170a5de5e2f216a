// Stage analyze: is this a model we can quantize, and what is in it? Leaves analysis.json. Changes nothing.
#include <algorithm>
#include <array>
#include <functional>
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

// A piece of the reading: a tensor's statistics, or a file's size and digest, on which later stages' keys stand.
struct ReadPiece {
  bool file = false;
  size_t index = 0;  // in the model's files or in its tensors
  int64_t bytes = 0;
};

struct Found {
  WeightStatistics statistics;  // of a tensor
  uint64_t bytes = 0;           // of a file, and the two below
  std::array<char, 64> sha256{};
};
static_assert(std::is_trivially_copyable_v<Found>);

class Reading {
 public:
  Reading(StageContext& context, const ModelSource& source, const std::vector<model::TensorSpec>& specs)
      : context_(context), source_(source), specs_(specs) {}

  // The largest first, so that no thread is left with one at the end; each to the rank with the least until then.
  Status deal() {
    for (size_t i = 0; i < source_.files.size(); ++i) {
      GQ_ASSIGN_OR_RETURN(const uint64_t bytes, context_.env.file_size(source_.files[i]));
      pieces_.push_back({true, i, static_cast<int64_t>(bytes)});
    }
    for (size_t i = 0; i < specs_.size(); ++i) {
      pieces_.push_back({false, i, static_cast<int64_t>(source_.tensors->find(specs_[i].name)->bytes)});
    }
    std::ranges::stable_sort(pieces_, std::greater<>(), &ReadPiece::bytes);
    dealt_.resize(static_cast<size_t>(context_.comm.size()));
    std::vector<int64_t> loads(dealt_.size());
    for (size_t p = 0; p < pieces_.size(); ++p) {
      const auto rank = static_cast<size_t>(std::ranges::min_element(loads) - loads.begin());
      loads[rank] += pieces_[p].bytes;
      dealt_[rank].push_back(p);
    }
    found_.resize(pieces_.size());
    return absl::OkStatus();
  }

  Status read_own() {
    const std::vector<size_t>& own = dealt_[static_cast<size_t>(context_.comm.rank())];
    const auto total = static_cast<int64_t>(own.size());
    const int64_t batch = 16 * context_.pool.threads();  // between two looks at `cancelled`
    for (int64_t begin = 0; begin < total; begin += batch) {
      if (context_.cancelled) return absl::CancelledError("asked to stop while reading tensors");
      context_.progress.progress(begin, total, "tensor or file", "weight statistics, digests");
      GQ_RETURN_IF_ERROR(parallel(context_.pool, std::min(batch, total - begin), [&](int64_t i, int) {
        const size_t piece = own[static_cast<size_t>(begin + i)];
        return pieces_[piece].file ? digest(piece) : measure(piece);
      }));
    }
    context_.progress.progress(total, total, "tensor or file", "weight statistics, digests");
    return absl::OkStatus();
  }

  // What everyone found, to all ranks.
  Status share() {
    std::vector<Found> in_turn;
    std::vector<size_t> counts;
    for (const std::vector<size_t>& pieces : dealt_) {
      for (const size_t piece : pieces) in_turn.push_back(found_[piece]);
      counts.push_back(pieces.size() * sizeof(Found));
    }
    GQ_RETURN_IF_ERROR(context_.comm.all_gather(std::as_writable_bytes(std::span(in_turn)), counts));
    size_t at = 0;
    for (const std::vector<size_t>& pieces : dealt_) {
      for (const size_t piece : pieces) found_[piece] = in_turn[at++];
    }
    return absl::OkStatus();
  }

  json files() const {
    json all(source_.files.size(), nullptr);
    for (size_t p = 0; p < pieces_.size(); ++p) {
      const Found& found = found_[p];
      if (!pieces_[p].file) continue;
      all[pieces_[p].index] = {{"path", source_.files[pieces_[p].index]},
                               {"bytes", found.bytes},
                               {"sha256", std::string(found.sha256.begin(), found.sha256.end())}};
    }
    return all;
  }

  json tensors() const {
    json all(specs_.size(), nullptr);
    for (size_t p = 0; p < pieces_.size(); ++p) {
      if (pieces_[p].file) continue;
      const model::TensorSpec& spec = specs_[pieces_[p].index];
      all[pieces_[p].index] = to_json(spec, *source_.tensors->find(spec.name), found_[p].statistics);
    }
    return all;
  }

 private:
  Status measure(size_t piece) {
    const std::string& name = specs_[pieces_[piece].index].name;
    GQ_ASSIGN_OR_RETURN(const tensor::Tensor tensor, source_.tensors->read(name));
    GQ_ASSIGN_OR_RETURN(found_[piece].statistics, weight_statistics(name, tensor));
    return absl::OkStatus();
  }

  Status digest(size_t piece) {
    GQ_ASSIGN_OR_RETURN(const std::string sha256,
                        base::digest_of_file(context_.env, source_.files[pieces_[piece].index]));
    if (sha256.size() != found_[piece].sha256.size()) return absl::InternalError("a digest of another length");
    found_[piece].bytes = static_cast<uint64_t>(pieces_[piece].bytes);
    std::ranges::copy(sha256, found_[piece].sha256.begin());
    return absl::OkStatus();
  }

  StageContext& context_;
  const ModelSource& source_;
  const std::vector<model::TensorSpec>& specs_;
  std::vector<ReadPiece> pieces_;               // the largest first
  std::vector<std::vector<size_t>> dealt_;  // pieces of each rank
  std::vector<Found> found_;                // of each piece
};

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
                      const Reading& reading) {
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
                         {"files", reading.files()},
                         {"tensors", reading.tensors()},
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
  Reading reading(context, source, specs);
  GQ_RETURN_IF_ERROR(agree(context.comm, reading.deal()));
  GQ_RETURN_IF_ERROR(agree(context.comm, reading.read_own()));
  GQ_RETURN_IF_ERROR(reading.share());
  return on_first_rank(context.comm, [&] { return write_analysis(context, source, specs, reading); });
}

}  // namespace gridquant::stages
