// How much memory quantize will need at its peak: a forecast, made from shapes alone.
#pragma once

#include <cstdint>

#include "stages/model_source.h"
#include "stages/token_store.h"

namespace gridquant::stages {

// Bytes. Of the larger compute type (fp32), so that the forecast holds on either kind of CPU.
uint64_t forecast_memory(const ModelSource& source, const TokenSet& tokens, int threads);

}  // namespace gridquant::stages
