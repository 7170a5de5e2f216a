// The summary that `gridquant run` ends with, for a terminal of 100 columns.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "engine/eval/report.h"
#include "engine/eval/report_facts.h"

namespace gridquant::eval {

using nlohmann::json;

namespace {

struct Paint {
  bool color = false;
  std::string bold(const std::string& s) const { return color ? absl::StrCat("\033[1m", s, "\033[0m") : s; }
  std::string soft(const std::string& s) const { return color ? absl::StrCat("\033[2m", s, "\033[0m") : s; }
  std::string warn(const std::string& s) const { return color ? absl::StrCat("\033[33m", s, "\033[0m") : s; }
};

std::string plain(const std::optional<double>& value, int digits) {
  return value ? format_significant(*value, digits) : "-";
}

// Breaks a sentence at spaces so that it fits a terminal of 100 columns, two of them margin.
std::string wrap(const std::string& sentence) {
  constexpr size_t kWidth = 96;
  std::string out;
  size_t column = 0;
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(sentence, ' '))) {
    if (column > 0 && column + 1 + word.size() > kWidth) {
      out += "\n  ";
      column = 0;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

void add_size(const json& report, const Paint& paint, std::string& out) {
  absl::StrAppend(&out, paint.soft(absl::StrFormat("  %-22s %14s %14s   %s", "", "before", "after", "change")), "\n");
  const json* quantize = section(report, "quantize");
  if (quantize == nullptr) return;
  const auto before = number(*quantize, "original_bytes"), after = number(*quantize, "bytes");
  if (!before || !after || *after <= 0) return;
  absl::StrAppendFormat(&out, "  %-22s %14s %14s   %.2f times smaller\n", "size", format_bytes(*before),
                        format_bytes(*after), *before / *after);
}

void add_quality(const json& report, const Paint& paint, std::string& out) {
  const std::vector<LanguageResult> results = language_results(report);
  for (const LanguageResult& r : results) {
    absl::StrAppendFormat(&out, "  %-22s %14s %14s   %s\n", "perplexity, " + r.name, plain(r.perplexity_original, 5),
                          plain(r.perplexity_quantized, 5),
                          r.perplexity_increase ? format_increase(*r.perplexity_increase) : "-");
  }
  if (results.empty()) return;
  absl::StrAppend(&out, "\n",
                  paint.soft(absl::StrFormat("  %-22s %14s %14s %17s %10s", "against the original", "KL mean", "KL max",
                                             "top-1 agreement", "tokens")),
                  "\n");
  for (const LanguageResult& r : results) {
    absl::StrAppendFormat(&out, "  %-22s %14s %14s %17s %10s\n", r.name, plain(r.kl_mean, 3), plain(r.kl_max, 3),
                          r.top1_agreement ? format_share(*r.top1_agreement, 1) : "-",
                          r.tokens ? format_count(*r.tokens) : "-");
  }
  const std::string sentence = headline(report);
  if (!sentence.empty()) absl::StrAppend(&out, "\n  ", paint.bold(wrap(sentence)), "\n");
}

void add_variants(const json& report, const Paint& paint, std::string& out) {
  const std::vector<Variant> all = variants(report);
  if (all.empty()) return;
  absl::StrAppend(&out, "\n", paint.soft("  above the first of each kind; all of them:"), "\n");
  for (const Variant& variant : all) absl::StrAppendFormat(&out, "  %-22s %s\n", variant.stage, variant.result);
}

void add_time(const json& report, const Paint& paint, std::string& out) {
  const json* stages = list(report, "stages");
  if (stages == nullptr) return;
  absl::StrAppend(&out, "\n", paint.soft(absl::StrFormat("  %-22s %14s   %s", "stage", "time", "state")), "\n");
  double total = 0;
  for (const json& stage : *stages) {
    const auto seconds = number(stage, "seconds");
    total += seconds.value_or(0);
    const double attempts = number(stage, "attempts").value_or(1);
    std::string state = text(stage, "state");
    if (text(stage, "cached") == "true") absl::StrAppend(&state, ", reused");
    if (attempts > 1) absl::StrAppendFormat(&state, ", %.0f attempts", attempts);
    absl::StrAppendFormat(&out, "  %-22s %14s   %s\n", text(stage, "name"), seconds ? format_seconds(*seconds) : "-",
                          state);
  }
  absl::StrAppendFormat(&out, "  %-22s %14s\n", "all", format_seconds(total));
}

void add_places(const json& report, std::string& out) {
  const std::string folder = text(report, "output");
  if (folder.empty()) return;
  absl::StrAppend(&out, "\n");
  for (const std::string& checkpoint : checkpoint_folders(report)) {
    absl::StrAppendFormat(&out, "  %-12s %s/%s\n", "checkpoint", folder, checkpoint);
  }
  absl::StrAppendFormat(&out, "  %-12s %s/report.html, %s/report.json\n", "report", folder, folder);
}

}  // namespace

std::string render_summary(const json& report, bool color) {
  const Paint paint{color};
  std::string out = absl::StrCat("\n", paint.bold(text(report, "run")));
  if (const json* plan = section(report, "plan")) {
    absl::StrAppend(&out, "  ", text(*plan, "solver"), " ", text(*plan, "bits"), " bits, ",
                    text(*plan, "symmetric") == "false" ? "asymmetric" : "symmetric", ", group size ",
                    text(*plan, "group_size"));
  }
  absl::StrAppend(&out, "\n\n");
  add_size(report, paint, out);
  add_quality(report, paint, out);
  add_variants(report, paint, out);
  add_time(report, paint, out);
  if (const json* warnings = list(report, "warnings")) {
    absl::StrAppend(&out, "\n");
    for (const json& warning : *warnings) {
      if (warning.is_string())
        absl::StrAppend(&out, "  ", paint.warn(wrap("warning: " + warning.get<std::string>())), "\n");
    }
  }
  add_places(report, out);
  return out;
}

}  // namespace gridquant::eval
