// Time of the quantization solvers alone, on SmolLM2-135M's shapes: 30 blocks of four sites (q, k, v; o; gate, up;
// down), random weights and Hessians. Not a quality measurement. Usage: bench_solver [threads] [blocks]
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "engine/device/thread_pool.h"
#include "engine/ops/hold_to.h"
#include "engine/quant/solver.h"

namespace {

using gridquant::device::ThreadPool;
using gridquant::tensor::Matrix;
namespace quant = gridquant::quant;

struct Site {
  const char* name;
  int64_t cols;
  std::vector<int64_t> rows;  // of its weights
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<float> noise(int64_t count, uint64_t state) {
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) {
    float sum = 0;
    for (int i = 0; i < 4; ++i) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      sum += static_cast<float>(state >> 40) * 0x1p-24f - 0.5f;
    }
    x = sum;
  }
  return out;
}

// Uneven diagonal, a common direction, positive definite: enough like a Hessian for timing.
gridquant::tensor::Tensor hessian(int64_t n) {
  gridquant::tensor::Tensor tensor(gridquant::tensor::DType::kF32, {n, n});
  const std::span<float> h = tensor.as<float>();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) h[i * n + j] = 0.3f + 0.2f * std::cos(0.01f * static_cast<float>(i - j));
    h[i * n + i] += 1.0f + static_cast<float>(i * 7 % 31);
  }
  return tensor;
}

struct Times {
  double factor = 0, solve = 0, rtn = 0;
};

bool run_site(const Site& site, ThreadPool& pool, Times& times) {
  const quant::SolverOptions options{.grid = {.bits = 4, .symmetric = true, .group_size = 64}};
  gridquant::tensor::Tensor h = hessian(site.cols);
  double start = seconds();
  auto factor = quant::factor_site(std::move(h), options, pool);
  times.factor += seconds() - start;
  if (!factor.ok()) return false;
  for (const int64_t rows : site.rows) {
    const std::vector<float> w = noise(rows * site.cols, static_cast<uint64_t>(rows));
    const Matrix<const float> weight{w.data(), rows, site.cols, site.cols};
    start = seconds();
    if (!quant::solve_gptq(weight, *factor, options, pool).ok()) return false;
    times.solve += seconds() - start;
    start = seconds();
    if (!quant::solve_rtn(weight, factor->diagonal, options, pool).ok()) return false;
    times.rtn += seconds() - start;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : static_cast<int>(std::thread::hardware_concurrency());
  const int blocks = argc > 2 ? std::atoi(argv[2]) : 30;
  namespace device = gridquant::device;
  const auto cpu = device::cpu_within(device::detect_cpu(), std::getenv(device::kMaxCpuVariable));
  if (!cpu.ok()) return 1;
  gridquant::ops::hold_to(*cpu);
  ThreadPool pool(std::max(1, threads));
  const std::vector<Site> sites = {
      {"q k v", 576, {576, 192, 192}}, {"o", 576, {576}}, {"gate up", 576, {1536, 1536}}, {"down", 1536, {576}}};
  std::printf("%s, %d threads, %d blocks\n", cpu->kind().c_str(), pool.threads(), blocks);
  Times total;
  for (const Site& site : sites) {
    Times times;
    for (int b = 0; b < blocks; ++b) {
      if (!run_site(site, pool, times)) return 1;
    }
    std::printf("%-8s factor %.3f s, GPTQ %.3f s (its search and rounding alone, RTN: %.3f s)\n", site.name,
                times.factor, times.solve, times.rtn);
    total.factor += times.factor, total.solve += times.solve, total.rtn += times.rtn;
  }
  std::printf("RESULT solver_seconds %.3f factor %.3f gptq %.3f rtn %.3f\n", total.factor + total.solve, total.factor,
              total.solve, total.rtn);
  return 0;
}
