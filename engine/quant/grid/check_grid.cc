// Which grids can hold which weights: refused before any work, with the nearest settings that work.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/quant/solver.h"

namespace gridquant::quant {
namespace {

constexpr std::array<int, 4> kBits = {2, 3, 4, 8};
constexpr std::array<int64_t, 3> kGroupSizes = {32, 64, 128};  // the ones that GPTQ kernels know
constexpr int64_t kPackMultiple = 32;  // GPTQ packs 32-bit words along the input and, for zeros, along the output

std::string working_groups(int64_t cols) {
  std::vector<std::string> sizes;
  for (int64_t size : kGroupSizes) {
    if (cols % size == 0) sizes.push_back(absl::StrCat(size));
  }
  sizes.push_back("-1");
  return absl::StrJoin(sizes, ", ");
}

}  // namespace

Status check_grid(const GridSpec& grid, int64_t rows, int64_t cols, const std::string& tensor_name) {
  if (std::find(kBits.begin(), kBits.end(), grid.bits) == kBits.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(tensor_name, ": no grid of ", grid.bits, " bits; bits that work: ", absl::StrJoin(kBits, ", ")));
  }
  if (rows <= 0 || cols <= 0) {
    return absl::InvalidArgumentError(absl::StrCat(tensor_name, ": shape [", rows, ", ", cols, "] is empty"));
  }
  if (rows % kPackMultiple != 0 || cols % kPackMultiple != 0) {
    const bool bad_rows = rows % kPackMultiple != 0;
    return absl::InvalidArgumentError(
        absl::StrCat(tensor_name, ": ", bad_rows ? "height " : "width ", bad_rows ? rows : cols,
                     " is no multiple of 32, so GPTQ's 32-bit words cannot hold it; what works: exclude this tensor"));
  }
  if (grid.group_size != -1 && (grid.group_size <= 0 || cols % grid.group_size != 0)) {
    return absl::InvalidArgumentError(absl::StrCat(tensor_name, ": width ", cols, " has no group of ", grid.group_size,
                                                   "; group sizes that work: ", working_groups(cols)));
  }
  return absl::OkStatus();
}

}  // namespace gridquant::quant
