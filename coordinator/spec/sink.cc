#include "coordinator/spec/sink.h"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace gridquant::spec {
namespace {

constexpr size_t kMaxSuggestionLength = 63;

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

}  // namespace

int edit_distance(std::string_view a, std::string_view b, int limit) {
  const int rows = static_cast<int>(a.size());
  const int columns = static_cast<int>(b.size());
  if (std::abs(rows - columns) > limit) return limit + 1;
  std::array<std::vector<int>, 3> lines;  // the line before last, the last, the current one
  for (auto& line : lines) line.resize(columns + 1);
  for (int j = 0; j <= columns; ++j) lines[1][j] = j;
  for (int i = 1; i <= rows; ++i) {
    auto& [older, last, now] = lines;
    now[0] = i;
    int best = i;
    for (int j = 1; j <= columns; ++j) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = std::min(now[j], older[j - 2] + 1);
      best = std::min(best, now[j]);
    }
    if (best > limit + 1) return limit + 1;
    std::swap(older, last);
    std::swap(last, now);
  }
  return std::min(lines[1][columns], limit + 1);
}

void Sink::add(Code code, const Position& at, std::string message, std::string hint) {
  if (diagnostics_.size() >= kMaxDiagnostics) return;
  if (!seen_.insert({static_cast<int>(code), at.line, at.column, message}).second) return;
  diagnostics_.push_back({.code = code_name(code),
                          .file = file_,
                          .line = at.line,
                          .column = at.column,
                          .length = at.length,
                          .message = std::move(message),
                          .hint = std::move(hint)});
}

std::string Sink::suggest(std::string_view name, const std::vector<std::string>& candidates) {
  if (name.empty() || name.size() > kMaxSuggestionLength) return "";
  const std::string wanted = lower_case(name);
  const int limit = wanted.size() <= 2 ? 1 : std::max<int>(1, static_cast<int>(wanted.size() + 1) / 3);
  int best_distance = limit + 1;
  const std::string* best = nullptr;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kMaxSuggestionLength || ++comparisons_ > kMaxComparisons) continue;
    int distance = edit_distance(wanted, lower_case(candidate), limit);
    // "diag" for "diagonal" is no typing error but as clear.
    if (wanted.size() >= 3 && lower_case(candidate).starts_with(wanted)) distance = std::min(distance, limit);
    // A short word changed in all its letters is another word.
    if (distance >= best_distance || distance >= static_cast<int>(candidate.size())) continue;
    best_distance = distance;
    best = &candidate;
  }
  return best == nullptr ? "" : "did you mean '" + *best + "'?";
}

std::vector<Diagnostic> Sink::take_sorted() {
  std::stable_sort(diagnostics_.begin(), diagnostics_.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::tie(a.line, a.column, a.code) < std::tie(b.line, b.column, b.code);
  });
  return std::move(diagnostics_);
}

}  // namespace gridquant::spec
