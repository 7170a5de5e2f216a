// Speed of the forward pass and of the Hessians on a model's shapes, beside the rate that the library itself reaches on
// the same products: random weights, no files. Not a benchmark of quantization (scripts/bench is).
// Usage: bench_forward [fp32|bf16|both] [threads] [seconds per figure] [smollm2|llama1b]
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "engine/device/cpu.h"
#include "engine/device/thread_pool.h"
#include "engine/model/architecture.h"
#include "engine/ops/gram.h"
#include "engine/ops/hold_to.h"

namespace gridquant {
namespace {

using ModelConfig = model::ModelConfig;

constexpr int64_t kTokens = 512;
constexpr int64_t kSequences = 8;
constexpr int64_t kBlocks = 2;  // more than one, so that weights leave the caches as they do in a real pass
constexpr int64_t kLeafRows = 2048;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "bench_forward: %s\n", std::string(status.message()).c_str());
  std::exit(1);
}

// The best of as many runs as fit in `seconds`, at least three: other programs only ever make a run slower.
double best_time(double seconds, const std::function<void()>& run) {
  double best = 1e30;
  const double begin = now();
  for (int i = 0; i < 3 || now() - begin < seconds; ++i) {
    const double start = now();
    run();
    best = std::min(best, now() - start);
  }
  return best;
}

struct Shape {
  std::string_view name;
  int64_t blocks, hidden, intermediate, heads, kv_heads, head_dim;
};
constexpr std::array kShapes = {
    Shape{"smollm2", 30, 576, 1536, 9, 3, 64}, Shape{"llama1b", 16, 2048, 8192, 32, 8, 64},  // Llama 3.2 1B's
};

ModelConfig config_of(const Shape& shape) {
  ModelConfig c;
  c.architecture = "LlamaForCausalLM";
  c.hidden_size = shape.hidden;
  c.intermediate_size = shape.intermediate;
  c.block_count = kBlocks;
  c.head_count = shape.heads;
  c.kv_head_count = shape.kv_heads;
  c.head_dim = shape.head_dim;
  c.vocab_size = 1;
  c.max_positions = kTokens;
  c.rms_norm_eps = 1e-5f;
  c.ropes[0].theta = 100000;
  return c;
}

void fill(std::span<float> values, float scale, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, scale);
  for (float& v : values) v = normal(random);
}

ops::OperandBuffer random_operand(ops::Compute compute, int64_t rows, int64_t cols) {
  ops::OperandBuffer x(compute, rows, cols);
  std::mt19937 random(7);
  std::vector<float> values(static_cast<size_t>(rows * cols));
  fill(values, 1.0f, random);
  if (compute == ops::Compute::kBF16) {
    tensor::f32_to_bf16(values, {x.view().bf16().data, values.size()});
  } else {
    std::ranges::copy(values, x.view().f32().data);
  }
  return x;
}

std::unique_ptr<model::Block> random_block(const ModelConfig& config, ops::Compute compute, int64_t index) {
  std::mt19937 random(static_cast<unsigned>(index));
  const model::Architecture& architecture = model::architecture_of(config);
  std::vector<tensor::Tensor> norms;
  for (const model::TensorSpec& spec : architecture.block_tensors(config, index)) {
    if (spec.role != model::TensorRole::kNorm) continue;
    norms.emplace_back(tensor::DType::kF32, spec.shape);
    std::ranges::fill(norms.back().as<float>(), 1.0f);
  }
  auto block = architecture.make_block(config, index, compute, std::move(norms));
  check(block.status());
  for (const model::TensorSpec& spec : architecture.block_tensors(config, index)) {
    if (spec.role != model::TensorRole::kLinear) continue;
    tensor::Tensor w(tensor::DType::kF32, spec.shape);
    fill(w.as<float>(), 0.02f, random);
    check((*block)->set_weight(spec.name, std::as_const(w).matrix<float>()));
  }
  return *std::move(block);
}

struct Bench {
  ops::Compute compute;
  device::ThreadPool& pool;
  double seconds;
  const Shape& shape;
  ModelConfig config = config_of(shape);

  // GFLOP/s of the products [kTokens, in] x [in, out] of a block, one sequence per task, in order, as the pass does
  // them.
  double product_rate() {
    std::vector<ops::LinearWeight> weights;
    int64_t widest = 0;
    double flops = 0;
    for (const model::TensorSpec& spec : model::architecture_of(config).block_tensors(config, 0)) {
      if (spec.role != model::TensorRole::kLinear) continue;
      tensor::Tensor w(tensor::DType::kF32, spec.shape);
      std::mt19937 random(3);
      fill(w.as<float>(), 0.02f, random);
      auto packed = ops::LinearWeight::pack(compute, std::as_const(w).matrix<float>());
      check(packed.status());
      weights.push_back(*std::move(packed));
      widest = std::max({widest, spec.shape[0], spec.shape[1]});
      flops += 2.0 * kTokens * static_cast<double>(spec.shape[0] * spec.shape[1]);
    }
    const ops::OperandBuffer x = random_operand(compute, kTokens, widest);
    std::vector<tensor::Tensor> y;
    for (int t = 0; t < pool.threads(); ++t) y.emplace_back(tensor::DType::kF32, tensor::Shape{kTokens, widest});
    const double time = best_time(seconds, [&] {
      pool.parallel_for(kSequences, [&](int64_t, int thread) {
        for (const ops::LinearWeight& w : weights) {
          ops::Operand in = x.view();
          in.cols = in.stride = w.in();
          check(w.multiply(in, {y[static_cast<size_t>(thread)].as<float>().data(), kTokens, w.out(), w.out()}));
        }
      });
    });
    return flops * kSequences / time / 1e9;
  }

  // Causal attention counts half of the score matrix.
  double forward_flops() const {
    double flops = 0;
    for (const model::TensorSpec& spec : model::architecture_of(config).block_tensors(config, 0)) {
      if (spec.role == model::TensorRole::kLinear) flops += 2.0 * static_cast<double>(spec.shape[0] * spec.shape[1]);
    }
    flops += 2.0 * static_cast<double>(config.head_count * config.head_dim * kTokens);
    return flops * kTokens;  // of one sequence through one block
  }

  double forward_time() {
    std::vector<std::unique_ptr<model::Block>> blocks;
    for (int64_t b = 0; b < kBlocks; ++b) blocks.push_back(random_block(config, compute, b));
    const auto sites = model::architecture_of(config).sites(config, 0);
    struct Thread {
      std::unique_ptr<model::Block::Scratch> scratch;
      std::vector<ops::OperandBuffer> inputs;
    };
    std::vector<Thread> threads(static_cast<size_t>(pool.threads()));
    for (Thread& thread : threads) {
      thread.scratch = blocks[0]->make_scratch(kTokens);
      for (const model::SiteSpec& site : sites) thread.inputs.emplace_back(compute, kTokens, site.width);
    }
    tensor::Tensor hidden(tensor::DType::kF32, {kSequences * kTokens, config.hidden_size});
    std::mt19937 random(5);
    fill(hidden.as<float>(), 1.0f, random);
    return best_time(seconds, [&] {
      for (const auto& block : blocks) {
        pool.parallel_for(kSequences, [&](int64_t i, int t) {
          Thread& thread = threads[static_cast<size_t>(t)];
          const model::SequenceView sequence{hidden.matrix<float>().row_range(i * kTokens, kTokens)};
          check(block->begin(sequence, thread.inputs[0].view(), *thread.scratch));
          for (size_t s = 0; s < sites.size(); ++s) {
            const ops::Operand next = s + 1 < sites.size() ? thread.inputs[s + 1].view() : ops::Operand{};
            check(block->advance(static_cast<int>(s), sequence, thread.inputs[s].view(), next, *thread.scratch));
          }
        });
      }
    });
  }

  double gram_rate(int64_t width, int64_t rows) {
    const ops::OperandBuffer x = random_operand(compute, rows, width);
    std::vector<ops::RowGroup> groups;
    for (int64_t begin = 0; begin < rows; begin += kLeafRows) groups.push_back({begin, kLeafRows});
    tensor::Tensor h(tensor::DType::kF32, {width, width});
    const double time = best_time(seconds, [&] { check(ops::gram(x.view(), groups, pool, h.matrix<float>())); });
    return static_cast<double>(rows) * static_cast<double>(width) * static_cast<double>(width) / time / 1e9;
  }

  void run() {
    const double products = product_rate();
    std::printf("%s, %d threads\n", device::name_of(compute), pool.threads());
    std::printf("  products of a block alone   %8.1f GFLOP/s\n", products);
    const double time = forward_time();
    const double rate = forward_flops() * kSequences * kBlocks / time / 1e9;
    const double tokens = kSequences * kTokens * kBlocks / static_cast<double>(shape.blocks) / time;
    std::printf(
        "  forward pass                %8.1f GFLOP/s  %5.1f %% of the products' rate  %9.0f tokens/s of %d blocks\n",
        rate, 100 * rate / products, tokens, static_cast<int>(shape.blocks));
    for (const int64_t width : {shape.hidden, shape.intermediate}) {
      const double gram = gram_rate(width, width > 4096 ? 4096 : 16384);
      std::printf("  Hessian of width %-4d       %8.1f GFLOP/s  %5.1f %% (half of X^T X counted)\n",
                  static_cast<int>(width), gram, 100 * gram / products);
    }
  }
};

}  // namespace
}  // namespace gridquant

int main(int argc, char** argv) {
  const std::string which = argc > 1 ? argv[1] : "both";
  const int threads = argc > 2 ? std::atoi(argv[2]) : 0;
  const double seconds = argc > 3 ? std::atof(argv[3]) : 0.5;
  const std::string name = argc > 4 ? argv[4] : "smollm2";
  const auto shape = std::ranges::find(gridquant::kShapes, name, &gridquant::Shape::name);
  if (shape == gridquant::kShapes.end()) {
    std::fprintf(stderr, "bench_forward: no shape %s\n", name.c_str());
    return 2;
  }
  const auto within =
      gridquant::device::cpu_within(gridquant::device::detect_cpu(), std::getenv(gridquant::device::kMaxCpuVariable));
  gridquant::check(within.status());
  const gridquant::device::CpuInfo& cpu = *within;
  gridquant::ops::hold_to(cpu);
  std::printf("%s, %s, %d cores, %s\n", cpu.model.c_str(), cpu.kind().c_str(), cpu.cores, name.c_str());
  for (const auto compute : {gridquant::ops::Compute::kF32, gridquant::ops::Compute::kBF16}) {
    if (which != "both" && which != gridquant::device::name_of(compute)) continue;
    for (int n = 1; n <= cpu.cores; n *= 2) {
      if (threads != 0 && n != threads) continue;
      gridquant::device::ThreadPool pool(n);
      gridquant::Bench{compute, pool, seconds, *shape}.run();
    }
  }
  return 0;
}
