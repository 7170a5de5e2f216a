// The sum of what quantize holds at once. Every term is named, so that a wrong one can be found.
#include "stages/memory_forecast.h"

#include <algorithm>

#include "stages/block_loop.h"

namespace gridquant::stages {
namespace {

constexpr uint64_t kFloat = 4;
constexpr uint64_t kProcess = 40ull << 20;  // code, libraries, allocator

// Of the largest block.
uint64_t block_parameters(const ModelSource& source) {
  uint64_t most = 0;
  for (int64_t b = 0; b < source.config.block_count; ++b) {
    uint64_t parameters = 0;
    for (const model::TensorSpec& spec : source.block(b)) {
      parameters += static_cast<uint64_t>(tensor::element_count(spec.shape));
    }
    most = std::max(most, parameters);
  }
  return most;
}

}  // namespace

uint64_t forecast_memory(const ModelSource& source, const TokenSet& tokens, ops::Compute compute, int threads) {
  const uint64_t rows = static_cast<uint64_t>(tokens.count() * tokens.length);
  const uint64_t hidden = static_cast<uint64_t>(source.config.hidden_size);
  const WidestSite even_site = widest_site(source, 0);
  const WidestSite odd_site = widest_site(source, 1);
  const uint64_t even = static_cast<uint64_t>(even_site.per_token);
  const uint64_t odd = static_cast<uint64_t>(odd_site.per_token);
  const uint64_t widest = static_cast<uint64_t>(std::max(even_site.width, odd_site.width));
  const uint64_t element = ops::operand_size(compute);

  const uint64_t streams = rows * hidden * kFloat;
  const uint64_t operands = rows * (even + odd) * element;
  // This block and the next one, read ahead, in fp32; this one packed for products; codes of this and the last one.
  const uint64_t weights = block_parameters(source) * (2 * kFloat + element + 2);
  // The Hessian, its copy for the comparison with plain rounding, and its factor.
  const uint64_t statistics = widest * widest * kFloat * 3;
  // Per thread: attention and the block's inner activations of one sequence.
  const uint64_t length = static_cast<uint64_t>(tokens.length);
  const uint64_t scratch = static_cast<uint64_t>(threads) * length * kFloat * (length + widest + 3 * hidden);
  uint64_t outer = 0;
  for (const model::TensorSpec& spec : source.outer()) outer += source.tensors->find(spec.name)->bytes;
  return streams + operands + weights + statistics + scratch + outer + kProcess;
}

}  // namespace gridquant::stages
