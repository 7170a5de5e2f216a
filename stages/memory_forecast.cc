// The sum of what quantize holds at once. Every term is named, so that a wrong one can be found.
#include "stages/memory_forecast.h"

#include <algorithm>

#include "stages/block_loop.h"

namespace gridquant::stages {
namespace {

constexpr uint64_t kFloat = 4;
constexpr uint64_t kProcess = 64ull << 20;  // code, libraries, allocator

struct BlockSize {
  uint64_t parameters = 0;
  uint64_t largest_weight = 0;  // elements
};

BlockSize measure_block(const ModelSource& source) {
  BlockSize size;
  for (const model::TensorSpec& spec : source.block(0)) {
    const uint64_t count = static_cast<uint64_t>(tensor::element_count(spec.shape));
    size.parameters += count;
    size.largest_weight = std::max(size.largest_weight, count);
  }
  return size;
}

}  // namespace

uint64_t forecast_memory(const ModelSource& source, const TokenSet& tokens, int threads) {
  const uint64_t rows = static_cast<uint64_t>(tokens.count() * tokens.length);
  const uint64_t hidden = static_cast<uint64_t>(source.config.hidden_size);
  const uint64_t even = static_cast<uint64_t>(widest_site(source, 0));
  const uint64_t odd = static_cast<uint64_t>(widest_site(source, 1));
  const uint64_t widest = std::max(even, odd);
  const BlockSize block = measure_block(source);

  const uint64_t streams = rows * hidden * kFloat;
  const uint64_t operands = rows * (even + odd) * kFloat;
  // This block in fp32 and packed for products, the next one read ahead, the last one's codes being written.
  const uint64_t weights = block.parameters * kFloat * 3 + block.parameters * 2;
  // The Hessian, its factor, and the factor's working copy.
  const uint64_t statistics = widest * widest * kFloat * 3;
  const uint64_t solving = block.largest_weight * kFloat * 2;
  // Per thread: attention scores and the block's inner activations of one sequence.
  const uint64_t length = static_cast<uint64_t>(tokens.length);
  const uint64_t scratch = static_cast<uint64_t>(threads) * length * kFloat * (length + 3 * widest + 4 * hidden);
  uint64_t outer = 0;
  for (const model::TensorSpec& spec : source.outer()) outer += source.checkpoint.find(spec.name)->bytes;
  return streams + operands + weights + statistics + solving + scratch + outer + kProcess;
}

}  // namespace gridquant::stages
