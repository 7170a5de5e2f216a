// Collects diagnostics: one per mistake, bounded, in order of position. Also where "did you mean" is asked, because the
// work of all suggestions together is bounded here.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "coordinator/spec/codes.h"
#include "coordinator/spec/source.h"
#include "coordinator/spec/spec.h"

namespace gridquant::spec {

class Sink {
 public:
  static constexpr size_t kMaxDiagnostics = 10'000;
  static constexpr long kMaxComparisons = 500'000;

  explicit Sink(std::string file) : file_(std::move(file)) {}

  // The same code and message at the same place is the same mistake (met again through an alias or a matrix).
  void add(Code code, const Position& at, std::string message, std::string hint = "");

  // "did you mean 'needs'?", or "" if no candidate is near enough (or too much was asked already).
  std::string suggest(std::string_view name, const std::vector<std::string>& candidates);

  bool empty() const { return diagnostics_.empty(); }
  size_t size() const { return diagnostics_.size(); }
  std::vector<Diagnostic> take_sorted();

 private:
  std::string file_;
  std::vector<Diagnostic> diagnostics_;
  std::set<std::tuple<int, int, int, std::string>> seen_;
  long comparisons_ = 0;
};

// Insertions, deletions, substitutions and swaps of neighbours (each pair at most once); `limit` + 1 if above `limit`.
int edit_distance(std::string_view a, std::string_view b, int limit);

}  // namespace gridquant::spec
