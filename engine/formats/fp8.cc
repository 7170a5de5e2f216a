#include "engine/formats/fp8.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"

namespace gridquant::formats {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using tensor::DType;
using tensor::Tensor;

constexpr char kQuantization[] = "quantization_config";
constexpr std::string_view kWeight = ".weight";

// Where the scales of one weight are, and how much of it shares one.
struct Scaled {
  std::string scale;
  TensorEntry entry;  // of the weight as it is kept
  int64_t block_rows = 0;
  int64_t block_cols = 0;
  tensor::Shape scale_shape;
};

class Fp8Tensors : public TensorDecorator {
 public:
  Fp8Tensors(std::shared_ptr<const TensorSource> inner, std::map<std::string, Scaled> scaled,
             std::vector<std::string> names)
      : TensorDecorator(std::move(inner)), scaled_(std::move(scaled)), names_(std::move(names)) {
    for (size_t code = 0; code < values_.size(); ++code) values_[code] = e4m3_value(static_cast<uint8_t>(code));
  }

  std::vector<std::string> names() const override { return names_; }
  const TensorEntry* find(const std::string& name) const override {
    const auto it = scaled_.find(name);
    if (it != scaled_.end()) return &it->second.entry;
    return std::binary_search(names_.begin(), names_.end(), name) ? inner().find(name) : nullptr;
  }

  StatusOr<Tensor> read(const std::string& name) const override {
    const auto it = scaled_.find(name);
    if (it == scaled_.end()) return inner().read(name);
    GQ_ASSIGN_OR_RETURN(const Tensor values, read_f32(name, it->second.entry.shape));
    Tensor kept(DType::kBF16, values.shape());
    tensor::f32_to_bf16(values.as<float>(), kept.as<tensor::BF16>());
    return kept;
  }

  StatusOr<Tensor> read_f32(const std::string& name, const tensor::Shape& shape) const override {
    const auto it = scaled_.find(name);
    if (it == scaled_.end()) return inner().read_f32(name, shape);
    const Scaled& s = it->second;
    if (s.entry.shape != shape) {
      return absl::FailedPreconditionError(absl::StrCat(path(), ": tensor \"", name, "\" has the shape ",
                                                        tensor::to_string(s.entry.shape), "; the model's config.json ",
                                                        "calls for ", tensor::to_string(shape)));
    }
    GQ_ASSIGN_OR_RETURN(const Tensor codes, inner().read(name));
    GQ_ASSIGN_OR_RETURN(const Tensor scales, inner().read_f32(s.scale, s.scale_shape));
    Tensor values(DType::kF32, shape);
    const std::span<const float> scale = scales.as<float>();
    const int64_t across = (shape[1] + s.block_cols - 1) / s.block_cols;
    const auto* code = reinterpret_cast<const uint8_t*>(codes.raw().data());
    for (int64_t r = 0; r < shape[0]; ++r) {
      float* to = values.matrix<float>().row(r);
      const float* row_scale = scale.data() + r / s.block_rows * across;
      for (int64_t c = 0; c < shape[1]; ++c) {
        to[c] = values_[code[r * shape[1] + c]] * row_scale[c / s.block_cols];
        if (!std::isfinite(to[c])) return non_finite(name, r, c);
      }
    }
    return values;
  }

 private:
  Status non_finite(const std::string& name, int64_t r, int64_t c) const {
    return absl::FailedPreconditionError(absl::StrCat(path(), ": tensor \"", name, "\", element [", r, ", ", c,
                                                      "] is not a finite number: get the file again"));
  }

  std::map<std::string, Scaled> scaled_;
  std::vector<std::string> names_;
  std::array<float, 256> values_;
};

// [rows, columns] of weight_block_size; nothing when it is not there.
StatusOr<std::pair<int64_t, int64_t>> block_size(const json& quantization, const std::string& path) {
  const auto it = quantization.find("weight_block_size");
  if (it == quantization.end() || it->is_null()) return std::pair<int64_t, int64_t>{0, 0};
  const auto is_size = [](const json& x) { return x.is_number_integer() && x >= 1 && x <= 65536; };
  if (!it->is_array() || it->size() != 2 || !is_size((*it)[0]) || !is_size((*it)[1])) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": weight_block_size ", it->dump(), " is not two whole numbers from 1 to 65536"));
  }
  return std::pair((*it)[0].get<int64_t>(), (*it)[1].get<int64_t>());
}

// The scales of the weight `name`. Which of the three forms they have, their shape says.
StatusOr<Scaled> scaled_of(const TensorSource& tensors, const std::string& name, std::pair<int64_t, int64_t> block) {
  const auto wrong = [&](const std::string& what) {
    return absl::FailedPreconditionError(absl::StrCat(tensors.path(), ": tensor \"", name, "\" is FP8, ", what));
  };
  const TensorEntry& weight = *tensors.find(name);
  if (weight.shape.size() != 2 || !name.ends_with(kWeight)) return wrong("but no weight of a linear layer");
  Scaled scaled;
  scaled.scale = name + "_scale_inv";
  if (!tensors.contains(scaled.scale)) scaled.scale = name + "_scale";
  const TensorEntry* scale = tensors.find(scaled.scale);
  if (scale == nullptr) return wrong(absl::StrCat("but there is neither ", name, "_scale_inv nor ", name, "_scale"));
  const int64_t rows = weight.shape[0];
  const int64_t cols = weight.shape[1];
  scaled.entry = {DType::kBF16, weight.shape, 0, static_cast<uint64_t>(rows) * static_cast<uint64_t>(cols) * 2};
  scaled.scale_shape = scale->shape;
  const auto up = [](int64_t n, int64_t by) { return (n + by - 1) / by; };
  if (tensor::element_count(scale->shape) == 1) {
    scaled.block_rows = std::max<int64_t>(rows, 1);
    scaled.block_cols = std::max<int64_t>(cols, 1);
  } else if (block.first > 0 && scale->shape == tensor::Shape{up(rows, block.first), up(cols, block.second)}) {
    scaled.block_rows = block.first;
    scaled.block_cols = block.second;
  } else if (scale->shape == tensor::Shape{rows, 1} || scale->shape == tensor::Shape{rows}) {
    scaled.block_rows = 1;
    scaled.block_cols = cols;
  } else {
    return wrong(absl::StrCat("but the shape ", tensor::to_string(scale->shape), " of ", scaled.scale,
                              " fits neither its blocks nor its rows ", tensor::to_string(weight.shape)));
  }
  return scaled;
}

}  // namespace

float e4m3_value(uint8_t code) {
  const int exponent = code >> 3 & 15;
  const int mantissa = code & 7;
  if (exponent == 15 && mantissa == 7) return std::nanf("");
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

bool is_fp8(const json& config) {
  const auto it = config.find(kQuantization);
  if (it == config.end() || !it->is_object()) return false;
  const auto says = [&](const char* key, const char* value) {
    const auto found = it->find(key);
    return found != it->end() && found->is_string() && *found == value;
  };
  return says("quant_method", "fp8") ||
         (says("quant_method", "compressed-tensors") && says("format", "float-quantized"));
}

StatusOr<Source> dequantize_fp8(Source source, const json& config) {
  const std::string config_path = source.texts->path_of(kConfigFile);
  GQ_ASSIGN_OR_RETURN(const auto block, block_size(config.at(kQuantization), config_path));
  std::map<std::string, Scaled> scaled;
  std::vector<std::string> names;
  for (const std::string& name : source.tensors->names()) {
    const DType dtype = source.tensors->find(name)->dtype;
    if (dtype == DType::kF8E4M3) {
      GQ_ASSIGN_OR_RETURN(scaled[name], scaled_of(*source.tensors, name, block));
    }
    // Scales of activations have no use here: the result computes with its own.
    const bool is_scale = name.ends_with("_scale_inv") || name.ends_with("_scale");
    if (!is_scale) names.push_back(name);
  }
  GQ_ASSIGN_OR_RETURN(const std::string text, source.texts->read(kConfigFile));
  GQ_ASSIGN_OR_RETURN(auto plain, parse_json_object<ordered_json>(text, config_path, JsonLimits{}));
  plain.erase(kQuantization);
  source.texts = with_config(std::move(source.texts), plain.dump(2) + "\n");
  source.tensors = std::make_shared<Fp8Tensors>(std::move(source.tensors), std::move(scaled), std::move(names));
  return source;
}

}  // namespace gridquant::formats
