// The common course of a solver over row tiles.
#include "engine/quant/solver/solve_tiles.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/quant/search/scale_search.h"

namespace gridquant::quant {
namespace {

struct Scratch {
  Scratch(const GridSpec& grid, int64_t cols) : tile(grid, cols), columns(static_cast<size_t>(cols)) {
    for (int64_t c = 0; c < cols; ++c) {
      const int64_t g = tile.group_of(c);
      columns[static_cast<size_t>(c)] = {tile.weights(c), tile.scale(g), tile.zero(g), tile.codes(c)};
    }
  }
  RowTile tile;
  std::vector<TileColumn> columns;  // original order
};

// Importance for the search: around 1, so that no product of it leaves fp32.
std::vector<float> relative(std::span<const float> diagonal, int64_t cols) {
  std::vector<float> out(static_cast<size_t>(cols), 1.0f);
  double sum = 0;
  for (const float h : diagonal) sum += h;
  if (!(sum > 0)) return out;
  const double scale = static_cast<double>(cols) / sum;
  for (size_t c = 0; c < diagonal.size(); ++c) out[c] = static_cast<float>(diagonal[c] * scale);
  return out;
}

double unit_of(std::span<const float> diagonal) {
  double sum = 0;
  for (const float h : diagonal) sum += h;
  return sum > 0 ? sum / static_cast<double>(diagonal.size()) : 1.0;
}

void choose_scales(RowTile& tile, const std::vector<float>& importance, const SolverOptions& options) {
  const int64_t width = options.grid.group_columns(tile.cols());
  for (int64_t g = 0; g < tile.groups(); ++g) {
    const GroupTile group{tile.weights(g * width), std::min(width, tile.cols() - g * width),
                          importance.data() + g * width};
    search_group(group, options.grid, options.search, {tile.scale(g), tile.zero(g)});
  }
}

TileSums measure(Scratch& scratch, const std::vector<float>& importance) {
  std::array<double, kTileRows> error{}, energy{};
  measure_columns(scratch.columns, importance.data(), {error.data(), energy.data()});
  TileSums sums;
  for (const double e : error) sums.error += e;
  for (const double e : energy) sums.energy += e;
  return sums;
}

Status check_problem(const TileProblem& p, const GridSpec& grid) {
  const auto cols = static_cast<size_t>(p.w.cols);
  if ((!p.diagonal.empty() && p.diagonal.size() != cols) || (!p.dead.empty() && p.dead.size() != cols)) {
    return absl::InvalidArgumentError(absl::StrCat("weight has ", cols, " columns, its statistics another number"));
  }
  for (const float h : p.diagonal) {
    if (!(h >= 0) || std::isinf(h)) return absl::InvalidArgumentError("diagonal holds a negative or non-finite entry");
  }
  if (grid.bits < 1 || grid.bits > 8 || grid.group_columns(p.w.cols) < 1) {
    return absl::InvalidArgumentError("grid was not checked: see check_grid");
  }
  return absl::OkStatus();
}

QuantizedWeight make_weight(const GridSpec& grid, int64_t rows, int64_t cols) {
  QuantizedWeight out;
  out.grid = grid;
  out.rows = rows;
  out.cols = cols;
  out.codes.resize(static_cast<size_t>(rows * cols));
  out.scales.resize(static_cast<size_t>(rows * out.groups()));
  out.zeros.resize(static_cast<size_t>(rows * out.groups()));
  return out;
}

// Tiles of a result that were solved by other processes of the pool: what a task has stored goes to shared memory, and
// after the loop everybody takes all of it. Does nothing where one process has solved them all.
class TilesOfAll {
 public:
  TilesOfAll(SolveResult& result, device::ThreadPool& pool) : result_(result) {
    if (pool.memory() == nullptr) return;
    size_t bytes = 0;
    for_each_part([&](auto& part, int64_t) { bytes += part.size() * sizeof(part[0]); });
    shared_ = tensor::Buffer(bytes, pool.memory());
  }
  void put(int64_t tile) {
    copy([&](std::byte* own, std::byte* shared, const Range& range) {
      std::memcpy(shared + range.begin(tile), own + range.begin(tile), range.begin(tile + 1) - range.begin(tile));
    });
  }
  void take_all() {
    copy([](std::byte* own, std::byte* shared, const Range& range) { std::memcpy(own, shared, range.bytes); });
  }

 private:
  // Of one part: how many bytes it has, and of each tile but the last.
  struct Range {
    size_t bytes, tile_bytes;
    size_t begin(int64_t tile) const { return std::min(bytes, static_cast<size_t>(tile) * tile_bytes); }
  };
  template <typename Visit>
  void for_each_part(const Visit& visit) {
    QuantizedWeight& weight = result_.weight;
    visit(weight.codes, kTileRows * weight.cols);
    visit(weight.scales, kTileRows * weight.groups());
    visit(weight.zeros, kTileRows * weight.groups());
    visit(result_.tiles, 1);
  }
  template <typename Copy>
  void copy(const Copy& copy) {
    if (shared_.size() == 0) return;
    std::byte* shared = shared_.data();
    for_each_part([&](auto& part, int64_t per_tile) {
      const Range range{part.size() * sizeof(part[0]), static_cast<size_t>(per_tile) * sizeof(part[0])};
      copy(reinterpret_cast<std::byte*>(part.data()), shared, range);
      shared += range.bytes;
    });
  }

  SolveResult& result_;
  tensor::Buffer shared_;
};

}  // namespace

int64_t solver_tile_rows() {
  return kTileRows;
}

void SolveResult::add_up() {
  weighted_error = 0;
  weight_energy = 0;
  for (const TileSums& tile : tiles) {
    weighted_error += tile.error;
    weight_energy += tile.energy;
  }
  weighted_error *= unit;
  weight_energy *= unit;
}

StatusOr<SolveResult> solve_tiles(const TileProblem& problem, const SolverOptions& options, const RoundTile& round,
                                  device::ThreadPool& pool) {
  GQ_RETURN_IF_ERROR(check_problem(problem, options.grid));
  const int64_t tiles = tile_count(problem.w.rows);
  const std::vector<float> importance = relative(problem.diagonal, problem.w.cols);
  SolveResult result;
  result.weight = make_weight(options.grid, problem.w.rows, problem.w.cols);
  result.tiles.resize(static_cast<size_t>(tiles));
  TilesOfAll tiles_of_all(result, pool);
  std::atomic<bool> finite{true};
  std::vector<std::unique_ptr<Scratch>> scratch(static_cast<size_t>(pool.threads()));
  pool.parallel_for(tiles, [&](int64_t task, int thread) {
    auto& own = scratch[static_cast<size_t>(thread)];
    if (!own) own = std::make_unique<Scratch>(options.grid, problem.w.cols);
    if (!own->tile.load(problem.w, task, problem.dead)) {
      finite = false;
      return;
    }
    choose_scales(own->tile, importance, options);
    round(own->tile, own->columns, thread);
    own->tile.store(task, result.weight);
    result.tiles[static_cast<size_t>(task)] = measure(*own, importance);
    tiles_of_all.put(task);
  });
  tiles_of_all.take_all();
  if (!pool.all(finite)) return absl::InvalidArgumentError("weight holds NaN or infinity");
  result.unit = unit_of(problem.diagonal);
  result.add_up();
  return result;
}

}  // namespace gridquant::quant
