// How much memory quantize will need at its peak: a forecast, made from shapes alone.
#pragma once

#include <cstdint>

#include "stages/model_source.h"
#include "stages/plan_file.h"
#include "stages/token_store.h"

namespace gridquant::stages {

// How quantize will run.
struct MemorySetting {
  ops::Compute compute = ops::Compute::kF32;
  int threads = 1;
  uint64_t budget = 0;  // hiddenStatesBudget
  bool prefetch = true;
  int ranks = 1;        // `tokens` are then one rank's
  bool forward = true;  // false: Hessians are read, `tokens` are not looked at
};

// Bytes of a rank's largest resident set. Within 10 % of what was measured (bench/README.md).
uint64_t forecast_memory(const ModelSource& source, const Plan& plan, const TokenSet& tokens,
                         const MemorySetting& setting);

}  // namespace gridquant::stages
