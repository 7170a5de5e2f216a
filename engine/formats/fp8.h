// Checkpoints whose linear weights are FP8 (E4M3, finite numbers and NaN) with scales beside them, read as the weights
// they stand for: value = code * scale, in fp32. Two forms: blocks of DeepSeek-V3 and Qwen3-FP8 ("<module>.weight" with
// "<module>.weight_scale_inv" [ceil(out / b0), ceil(in / b1)], quant_method fp8 with weight_block_size), and one scale
// per tensor or row ("<module>.weight_scale", compressed-tensors float-quantized). Kept weights are rounded to BF16:
// the codes have 4 significant bits, and the scale is rounded with them.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "engine/formats/source.h"

namespace gridquant::formats {

// The value of an E4M3 code (OCP 8-bit floating point, "FN": no infinity; 0x7f and 0xff are NaN).
float e4m3_value(uint8_t code);

// True if `config`, a parsed config.json, says that the weights are FP8 as above.
bool is_fp8(const nlohmann::json& config);

// `source` with its FP8 weights dequantized, without the scales, and without quantization_config in config.json.
// FailedPrecondition for a weight without its scale, or a scale of another shape.
StatusOr<Source> dequantize_fp8(Source source, const nlohmann::json& config);

}  // namespace gridquant::formats
