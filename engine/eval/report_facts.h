// What a report says, apart from how it looks: reading report.json without trusting it, numbers as people read them,
// and the one sentence that answers the project's question. Used by the page and by the terminal summary, so that they
// agree.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace gridquant::eval {

// Null, nullopt or "" where the field is absent or of another type. `object` may itself be of any type.
const nlohmann::json* section(const nlohmann::json& object, const char* key);  // an object that is not empty
const nlohmann::json* list(const nlohmann::json& object, const char* key);     // an array that is not empty
std::optional<double> number(const nlohmann::json& object, const char* key);   // finite
std::string text(const nlohmann::json& object, const char* key);  // numbers and booleans as JSON spells them

std::string format_bytes(double bytes);                    // "5.1 MiB"
std::string format_seconds(double seconds);                // "0.42 s", "3 min 12 s", "1 h 04 min"
std::string format_count(double count);                    // "12,345"
std::string format_share(double share, int digits);        // 0.0213 -> "2.1 %"
std::string format_increase(double share);                 // 0.0213 -> "+2.1 %", 0.0041 -> "+0.41 %"
std::string format_significant(double value, int digits);  // "0.0123", "12.35", "1.2e-06"

std::string language_name(const std::string& tag);  // "en" -> "English"; unknown tags as they are

struct LanguageResult {
  std::string tag;
  std::string name;
  std::optional<double> sequences, tokens, perplexity_original, perplexity_quantized, perplexity_increase, kl_mean,
      kl_max, top1_agreement;
};
std::vector<LanguageResult> language_results(const nlohmann::json& report);  // English and Korean first, others after

// Of a mixture's blocks: how many calibration tokens its experts saw.
struct ExpertCoverage {
  std::string block;
  double experts = 0;
  double fewest = 0, median = 0, most = 0;  // tokens of an expert
  double starved = 0;                       // experts rounded to nearest for want of tokens
  // Language name and how many experts saw any of its tokens; languages in the order of language_results.
  std::vector<std::pair<std::string, double>> reached;
};
std::vector<ExpertCoverage> expert_coverage(const nlohmann::json& report);

// A stage of a matrix. The sections of a report are those of the first stage of each kind.
struct Variant {
  std::string stage;
  std::string result;  // "5.93 MiB, 2.19 times smaller"; "English: KL 0.0043, perplexity +0.35 %; Korean: ..."
};
// In the order of the stages; none unless the run has several checkpoints.
std::vector<Variant> variants(const nlohmann::json& report);
// Where the run's checkpoints lie, below "output": "checkpoint", or of a matrix "<stage>/checkpoint" each.
std::vector<std::string> checkpoint_folders(const nlohmann::json& report);

// "Does quantization hurt Korean more than English?" in one sentence, from the numbers alone. A difference below a
// tenth counts as none, and measures that point in opposite directions are said to. "" without a validated
// language.
std::string headline(const nlohmann::json& report);

}  // namespace gridquant::eval
