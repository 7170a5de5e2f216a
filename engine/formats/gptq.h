// The GPTQ v1 container (AutoGPTQ, GPTQModel, transformers, vLLM): quantizers.md 2.1, byte by byte.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/formats/source.h"
#include "engine/quant/quantized_weight.h"

namespace gridquant::formats {

inline constexpr std::string_view kWeightSuffix = ".weight";  // of a linear layer's tensor; before it: the module

// qweight int32 [K*b/32, N], qzeros int32 [G, N*b/32] (true zero - 1), scales fp16 [G, N], g_idx int32 [K], named
// "<module>.qweight" and so on. `module` is the tensor's name without ".weight". Needs K and N divisible by 32.
StatusOr<std::vector<NamedTensor>> to_gptq(const std::string& module, const quant::QuantizedWeight& weight);

// Names, dtypes and shapes of the above, without the data (size forecast).
std::vector<std::pair<std::string, TensorEntry>> gptq_entries(const std::string& module, const quant::GridSpec& grid,
                                                              int64_t rows, int64_t cols);

// The reader, written independently of the writer. The four tensors of `module` in `checkpoint`, checked:
struct GptqWeight {
  tensor::Tensor qweight, qzeros, scales, g_idx;
  std::vector<int32_t> zeros;  // true zero points [G, N]
  int64_t rows = 0;            // N
  int64_t cols = 0;            // K
  int64_t groups = 0;          // G
  int bits = 0;
};
StatusOr<GptqWeight> read_gptq(const TensorSource& checkpoint, const std::string& module, int bits);
// fp32 [N, K]. `weight` is what read_gptq gave.
tensor::Tensor dequantize(const GptqWeight& weight);
// Both at once.
StatusOr<tensor::Tensor> dequantize_gptq(const TensorSource& checkpoint, const std::string& module, int bits);

// The value of config.json's "quantization_config", and of quantize_config.json. JSON text.
struct GptqSettings {
  quant::GridSpec grid;
  bool act_order = true;  // recorded as desc_act = false with static_groups: g_idx is trivial
  double damp_percent = 0.05;
  std::string model_name;
  std::vector<std::string> excluded_modules;  // written as "dynamic" negative rules
};
std::string gptq_quantization_config(const GptqSettings& settings);

}  // namespace gridquant::formats
