#include "engine/eval/report_facts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace gridquant::eval {

using nlohmann::json;

namespace {

const json* member(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

// The two measures that do not depend on how a tokenizer cuts a language.
std::string measures(const LanguageResult& first, const LanguageResult& second) {
  std::string out = absl::StrFormat("KL to the original %s against %s nats per token",
                                    format_significant(*second.kl_mean, 3), format_significant(*first.kl_mean, 3));
  if (*first.kl_mean > 0) absl::StrAppendFormat(&out, " (%.2f times)", *second.kl_mean / *first.kl_mean);
  absl::StrAppend(&out, ", perplexity ", format_increase(*second.perplexity_increase), " against ",
                  format_increase(*first.perplexity_increase));
  if (first.tokens && second.tokens) {
    absl::StrAppend(&out, ", on ", format_count(*second.tokens), " ", second.name, " and ", format_count(*first.tokens),
                    " ", first.name, " tokens");
  }
  return out;
}

// -1, 0 or 1: whether `second` is clearly less than, about equal to, or clearly more than `first`. Differences below a
// tenth, or below `least`, are noise.
int clear_difference(double first, double second, double least) {
  const double difference = second - first;
  if (std::abs(difference) < least || std::abs(difference) < 0.1 * std::max(std::abs(first), std::abs(second)))
    return 0;
  return difference > 0 ? 1 : -1;
}

std::string compare(const LanguageResult& first, const LanguageResult& second) {
  constexpr double kLeastIncrease = 0.001;  // a tenth of a percent of perplexity
  const int kl = clear_difference(*first.kl_mean, *second.kl_mean, 1e-6);
  const int perplexity = clear_difference(*first.perplexity_increase, *second.perplexity_increase, kLeastIncrease);
  const std::string pair =
      absl::StrCat(second.name, kl < 0 || perplexity < 0 ? " less than " : " more than ", first.name);
  std::string verdict;
  if (kl == 0 && perplexity == 0) {
    verdict = absl::StrCat("No clear difference: quantization hurts ", second.name, " about as much as ", first.name);
  } else if (kl == -perplexity) {
    verdict =
        absl::StrCat("The measures disagree on whether quantization hurts ", second.name, " more than ", first.name);
  } else if (kl == perplexity) {
    verdict = absl::StrCat(kl > 0 ? "Yes" : "No", ": quantization hurts ", pair);
  } else if (perplexity == 0) {
    verdict = absl::StrCat(kl > 0 ? "Yes: quantization hurts " : "No: quantization hurts ", pair,
                           " by KL, and about as much by perplexity");
  } else {
    verdict = absl::StrCat(perplexity > 0 ? "Yes: quantization hurts " : "No: quantization hurts ", pair,
                           " by perplexity, and about as much by KL");
  }
  return absl::StrCat(verdict, ": ", measures(first, second), ".");
}

int language_rank(const std::string& tag) {
  return tag == "en" ? 0 : tag == "ko" ? 1 : 2;
}

std::vector<double> counts_of(const json& values) {
  std::vector<double> counts;
  for (const json& value : values) {
    if (value.is_number()) counts.push_back(value.get<double>());
  }
  return counts;
}

// Which experts of a block were reached by each language: calibrate's counts.
std::vector<std::pair<std::string, double>> reached_by(const json& report, const std::string& block) {
  std::vector<std::pair<std::string, double>> reached;
  const json* calibration = section(report, "calibration");
  const json* experts = calibration == nullptr ? nullptr : list(*calibration, "experts");
  if (experts == nullptr) return reached;
  for (const json& row : *experts) {
    const json* tokens = section(row, "tokens");
    if (tokens == nullptr || text(row, "block") != block) continue;
    std::vector<std::string> tags;
    for (const auto& [tag, counts] : tokens->items()) tags.push_back(tag);
    std::ranges::stable_sort(tags, {}, language_rank);
    for (const std::string& tag : tags) {
      const std::vector<double> counts = counts_of(tokens->at(tag));
      reached.emplace_back(language_name(tag), std::ranges::count_if(counts, [](double count) { return count > 0; }));
    }
  }
  return reached;
}

std::string size_of(const json& quantize) {
  const auto before = number(quantize, "original_bytes"), after = number(quantize, "bytes");
  if (!before || !after || *after <= 0) return "";
  return absl::StrCat(format_bytes(*after), ", ", format_significant(*before / *after, 3), " times smaller");
}

std::string divergence_of(const json& validate) {
  std::string out;
  for (const LanguageResult& r : language_results({{"validate", validate}})) {
    if (!r.kl_mean || !r.perplexity_increase) continue;
    absl::StrAppend(&out, out.empty() ? "" : "; ", r.name, ": KL ", format_significant(*r.kl_mean, 3), ", perplexity ",
                    format_increase(*r.perplexity_increase));
  }
  return out;
}

}  // namespace

std::vector<ExpertCoverage> expert_coverage(const json& report) {
  std::vector<ExpertCoverage> coverage;
  const json* quantize = section(report, "quantize");
  const json* experts = quantize == nullptr ? nullptr : list(*quantize, "experts");
  if (experts == nullptr) return coverage;
  std::set<std::pair<std::string, std::string>> starved;  // block, expert
  if (const json* fallbacks = list(*quantize, "fallbacks")) {
    for (const json& row : *fallbacks) {
      if (number(row, "expert")) starved.emplace(text(row, "block"), text(row, "expert"));
    }
  }
  for (const json& row : *experts) {
    const json* tokens = list(row, "tokens");
    std::vector<double> counts = tokens == nullptr ? std::vector<double>() : counts_of(*tokens);
    if (counts.empty()) continue;
    std::ranges::sort(counts);
    ExpertCoverage& of = coverage.emplace_back();
    of.block = text(row, "block");
    of.experts = static_cast<double>(counts.size());
    of.fewest = counts.front();
    of.median = counts[counts.size() / 2];
    of.most = counts.back();
    of.starved = static_cast<double>(
        std::ranges::count_if(starved, [&](const auto& expert) { return expert.first == of.block; }));
    of.reached = reached_by(report, of.block);
  }
  return coverage;
}

std::vector<std::string> checkpoint_folders(const json& report) {
  std::vector<std::string> folders;
  if (const json* stages = list(report, "stages")) {
    for (const json& stage : *stages) {
      if (text(stage, "uses") != "quantize" || text(stage, "state") != "succeeded") continue;
      folders.push_back(text(stage, "name") + "/checkpoint");
    }
  }
  if (folders.size() > 1) return folders;
  if (section(report, "quantize") == nullptr) return {};
  return {"checkpoint"};
}

std::vector<Variant> variants(const json& report) {
  std::vector<Variant> result;
  const json* summaries = section(report, "variants");
  const json* stages = list(report, "stages");
  if (summaries == nullptr || stages == nullptr || checkpoint_folders(report).size() < 2) return result;
  for (const json& stage : *stages) {
    const std::string name = text(stage, "name");
    const json* summary = section(*summaries, name.c_str());
    if (summary == nullptr) continue;
    std::string figures;
    if (text(stage, "uses") == "quantize") figures = size_of(*summary);
    if (text(stage, "uses") == "validate") figures = divergence_of(*summary);
    if (!figures.empty()) result.push_back({name, std::move(figures)});
  }
  return result;
}

const json* section(const json& object, const char* key) {
  const json* found = member(object, key);
  return found != nullptr && found->is_object() && !found->empty() ? found : nullptr;
}

const json* list(const json& object, const char* key) {
  const json* found = member(object, key);
  return found != nullptr && found->is_array() && !found->empty() ? found : nullptr;
}

std::optional<double> number(const json& object, const char* key) {
  const json* found = member(object, key);
  if (found == nullptr || !found->is_number()) return std::nullopt;
  const double value = found->get<double>();
  return std::isfinite(value) ? std::optional<double>(value) : std::nullopt;
}

std::string text(const json& object, const char* key) {
  const json* found = member(object, key);
  if (found == nullptr) return "";
  if (found->is_string()) return found->get<std::string>();
  return found->is_number() || found->is_boolean() ? found->dump() : "";
}

std::string format_bytes(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (std::abs(bytes) >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrFormat(unit == 0 ? "%.0f %s" : bytes < 10 ? "%.2f %s" : "%.1f %s", bytes, kUnits[unit]);
}

std::string format_seconds(double seconds) {
  if (seconds < 10) return absl::StrFormat("%.2f s", seconds);
  if (seconds < 60) return absl::StrFormat("%.1f s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 3600) return absl::StrFormat("%d min %02d s", whole / 60, whole % 60);
  return absl::StrFormat("%d h %02d min", whole / 3600, whole % 3600 / 60);
}

std::string format_count(double count) {
  std::string digits = absl::StrFormat("%.0f", std::abs(count));
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), 1, ',');
  return count < 0 ? "-" + digits : digits;
}

std::string format_share(double share, int digits) {
  return absl::StrFormat("%.*f %%", digits, share * 100);
}

std::string format_increase(double share) {
  return absl::StrFormat("%+.*f %%", std::abs(share) < 0.01 ? 2 : 1, share * 100);
}

std::string format_significant(double value, int digits) {
  const double size = std::abs(value);
  if (size == 0) return "0";
  if (size < 1e-4 || size >= 1e6) return absl::StrFormat("%.*e", digits - 1, value);
  const int before_point = static_cast<int>(std::floor(std::log10(size))) + 1;
  return absl::StrFormat("%.*f", std::max(0, digits - before_point), value);
}

std::string language_name(const std::string& tag) {
  if (tag == "en") return "English";
  if (tag == "ko") return "Korean";
  return tag;
}

std::vector<LanguageResult> language_results(const json& report) {
  std::vector<LanguageResult> results;
  const json* validate = section(report, "validate");
  const json* languages = validate == nullptr ? nullptr : section(*validate, "languages");
  if (languages == nullptr) return results;
  for (const auto& [tag, of] : languages->items()) {
    results.push_back({.tag = tag,
                       .name = language_name(tag),
                       .sequences = number(of, "sequences"),
                       .tokens = number(of, "tokens"),
                       .perplexity_original = number(of, "perplexity_original"),
                       .perplexity_quantized = number(of, "perplexity_quantized"),
                       .perplexity_increase = number(of, "perplexity_increase"),
                       .kl_mean = number(of, "kl_mean"),
                       .kl_max = number(of, "kl_max"),
                       .top1_agreement = number(of, "top1_agreement")});
  }
  std::ranges::stable_sort(results, {}, [](const LanguageResult& r) { return language_rank(r.tag); });
  return results;
}

std::string headline(const json& report) {
  std::vector<LanguageResult> results = language_results(report);
  std::erase_if(results, [](const LanguageResult& r) { return !r.kl_mean || !r.perplexity_increase; });
  if (results.empty()) return "";
  if (results.size() >= 2) return compare(results[0], results[1]);
  const LanguageResult& only = results.front();
  return absl::StrCat("Only ", only.name, " was measured: KL to the original ", format_significant(*only.kl_mean, 3),
                      " nats per token, perplexity ", format_increase(*only.perplexity_increase), ".");
}

}  // namespace gridquant::eval
