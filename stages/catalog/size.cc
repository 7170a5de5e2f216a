#include "stages/catalog/size.h"

#include <array>
#include <charconv>
#include <limits>

namespace gridquant::stages {
namespace {

struct Unit {
  std::string_view name;
  int64_t factor;
};

constexpr std::array kUnits = {
    Unit{"", 1},          Unit{"k", 1'000},    Unit{"M", 1'000'000},  Unit{"G", 1'000'000'000},
    Unit{"Ki", 1 << 10},  Unit{"Mi", 1 << 20}, Unit{"Gi", 1LL << 30}, Unit{"T", 1'000'000'000'000},
    Unit{"Ti", 1LL << 40}};

}  // namespace

std::optional<int64_t> read_size(std::string_view text) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc()) return std::nullopt;
  const std::string_view suffix = text.substr(static_cast<size_t>(end - text.data()));
  for (const Unit& unit : kUnits) {
    if (suffix != unit.name) continue;
    if (count > std::numeric_limits<int64_t>::max() / unit.factor) return std::nullopt;
    return count * unit.factor;
  }
  return std::nullopt;
}

}  // namespace gridquant::stages
