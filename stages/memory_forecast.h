// How much memory quantize will need at its peak: a forecast, made from shapes alone.
#pragma once

#include <cstdint>

#include "stages/model_source.h"
#include "stages/token_store.h"

namespace gridquant::stages {

// Bytes, for products in `compute`.
uint64_t forecast_memory(const ModelSource& source, const TokenSet& tokens, ops::Compute compute, int threads);

}  // namespace gridquant::stages
