// Overlap of two token sets, by hashes of runs of tokens.
#include "stages/disjoint.h"

#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace gridquant::stages {
namespace {

constexpr int64_t kRun = 32;                       // tokens: chance repeats of this length are rare in any language
constexpr double kMaxOverlap = 0.02;               // quotations and headings happen
constexpr uint64_t kBase = 0x9E3779B97F4A7C15ull;  // odd, so multiplication loses nothing

uint64_t hash_run(std::span<const int32_t> ids) {
  uint64_t hash = 0;
  for (const int32_t id : ids) hash = hash * kBase + static_cast<uint32_t>(id) + 1;
  return hash;
}

uint64_t highest_power() {
  uint64_t power = 1;
  for (int64_t i = 0; i + 1 < kRun; ++i) power *= kBase;
  return power;
}

// Calibration runs start at multiples of kRun; evaluation runs anywhere, so that a shift hides nothing.
std::unordered_set<uint64_t> runs_of(const TokenSet& tokens) {
  std::unordered_set<uint64_t> runs;
  for (int64_t i = 0; i < tokens.count(); ++i) {
    const std::span<const int32_t> ids = tokens.sequence(i);
    for (int64_t at = 0; at + kRun <= tokens.length; at += kRun) runs.insert(hash_run(ids.subspan(at, kRun)));
  }
  return runs;
}

}  // namespace

double overlap_share(const TokenSet& calibration, const TokenSet& evaluation) {
  const std::unordered_set<uint64_t> seen = runs_of(calibration);
  if (seen.empty() || evaluation.length < kRun || evaluation.ids.empty()) return 0;
  const uint64_t top = highest_power();
  int64_t covered = 0;
  for (int64_t i = 0; i < evaluation.count(); ++i) {
    const std::span<const int32_t> ids = evaluation.sequence(i);
    uint64_t hash = hash_run(ids.first(kRun));
    int64_t counted_to = 0;  // tokens before this position are counted already
    for (int64_t at = 0;; ++at) {
      if (seen.contains(hash)) {
        covered += at + kRun - std::max(counted_to, at);
        counted_to = at + kRun;
      }
      if (at + kRun >= evaluation.length) break;
      const uint64_t leaving = static_cast<uint32_t>(ids[at]) + 1;
      hash = (hash - leaving * top) * kBase + static_cast<uint32_t>(ids[at + kRun]) + 1;
    }
  }
  return static_cast<double>(covered) / static_cast<double>(evaluation.ids.size());
}

Status check_disjoint(const TokenSet& calibration, const TokenSet& evaluation) {
  for (const nlohmann::json& ours : evaluation.texts) {
    for (const nlohmann::json& theirs : calibration.texts) {
      if (ours.at("sha256") != theirs.at("sha256")) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          ours.at("path").get<std::string>(), ": has the same content as ", theirs.at("path").get<std::string>(),
          ", which was calibrated with; evaluate on text that the quantizer has not seen"));
    }
  }
  const double share = overlap_share(calibration, evaluation);
  if (share <= kMaxOverlap) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("%.1f %% of the evaluation tokens stand in passages that were calibrated with; evaluate on text "
                      "that the quantizer has not seen",
                      100 * share));
}

}  // namespace gridquant::stages
