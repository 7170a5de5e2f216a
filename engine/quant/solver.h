// Solvers: from a weight (and its site's Hessian) to codes on a grid. RTN rounds; GPTQ (Frantar et al. 2022,
// arXiv:2210.17323) rounds column by column and moves each column's error onto the columns not yet rounded. It is
// computed in the form of LDLQ, which is the same (Chee et al. 2023, arXiv:2307.13304, theorem 6): with H = A D A^T,
// A unit upper triangular, column j is rounded at w_j - sum over i < j of (q_i - w_i) A_ij. So the Hessian is
// factorized once and nothing is inverted.
// A solver never sees a model, a checkpoint or a rank number.
//
// Given H and W the same bits on every machine with fused multiply-add (x86: AVX2 and wider), for any number of
// threads: no sum crosses lanes, each runs in a fixed order. Scale search and rounding are exact everywhere: true
// division, rint, no contraction.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/device/thread_pool.h"
#include "engine/quant/quantized_weight.h"
#include "engine/tensor/tensor.h"

namespace gridquant::quant {

// How the scale (and zero point) of a group is chosen. All groups are static: from the original weight, before any
// column is rounded, so that act-order leaves g_idx trivial.
enum class ScaleSearch {
  kAbsMax,    // the range of the group, as it is
  kWeighted,  // the shrink factor (and for symmetric grids the sign) with the least error weighted by diag(H)
};

struct SolverOptions {
  GridSpec grid;
  ScaleSearch search = ScaleSearch::kWeighted;
  double damp_percent = 0.05;  // of mean(diag H), added to the diagonal; raised in steps if the factorization fails
  bool act_order = true;       // columns by diag(H), largest first; groups stay where they are
};

// What GPTQ needs of a site's Hessian, made once for all weights of the site. Immutable.
//
// One K x K array holds both the factor and the Hessian (K = 13824: 764 MB, so there is no second one): the damped
// Hessian is A D A^T, with D diagonal and A unit upper triangular. Below its diagonal is A^T; above it H as it was
// before damping, in `order`, whose diagonal is `diagonal`. See hessian_errors.
struct SiteFactor {
  std::vector<int32_t> order;   // order[i] = original column at position i (identity without act-order)
  std::vector<float> diagonal;  // diag(H) before damping, original column order: the weights of the scale search
  std::vector<uint8_t> dead;    // original column order: 1 where H_ii was 0 (the column is set to zero)
  tensor::Tensor feedback;      // [K, K] fp32, in `order`
  double damping = 0;           // the share of mean(diag H) that was really added
  int ladder_steps = 0;         // 0: the first damping worked
};

// `hessian` is [K, K] F32, symmetric; its memory becomes the factor's. FailedPrecondition if no step of the damping
// ladder makes it positive definite, or it holds NaN or infinity: the caller falls back to RTN and reports it.
StatusOr<SiteFactor> factor_site(tensor::Tensor hessian, const SolverOptions& options, device::ThreadPool& pool);

// e H e^T, the error that GPTQ minimises, of each row e of `errors` [rows, K] fp32 in the original column order; H is
// the undamped Hessian that `factor` was made of. Meant for few rows. The same bits for any number of threads.
std::vector<double> hessian_errors(const SiteFactor& factor, tensor::Matrix<const float> errors,
                                   device::ThreadPool& pool);

// Of one tile of rows, in units of SolveResult::unit.
struct TileSums {
  double error = 0;
  double energy = 0;
};

struct SolveResult {
  QuantizedWeight weight;
  double weighted_error = 0;    // sum over rows of (w - q) diag(H) (w - q)^T, fixed order
  double weight_energy = 0;     // sum over rows of w diag(H) w^T
  std::vector<TileSums> tiles;  // what both are the sums of, in order
  double unit = 1;              // the same for every range of a weight's rows

  void add_up();  // sets both from the tiles
};

// Rows are solved in tiles of so many: a range of rows that begins at a multiple of it gives the same bits when it is
// solved alone. The tiles of ranges that follow each other, one after the other, are the tiles of the whole.
int64_t solver_tile_rows();

// `w` is [rows, K] fp32, not changed; no rows are allowed. Rows are solved in fixed tiles, in parallel.
StatusOr<SolveResult> solve_gptq(tensor::Matrix<const float> w, const SiteFactor& factor, const SolverOptions& options,
                                 device::ThreadPool& pool);
// `diagonal` has K entries or is empty (all ones: plain rounding without data).
StatusOr<SolveResult> solve_rtn(tensor::Matrix<const float> w, std::span<const float> diagonal,
                                const SolverOptions& options, device::ThreadPool& pool);

// InvalidArgument with the nearest settings that work, if the grid cannot hold a weight of `cols` columns.
Status check_grid(const GridSpec& grid, int64_t rows, int64_t cols, const std::string& tensor_name);

}  // namespace gridquant::quant
