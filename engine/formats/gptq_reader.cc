// From GPTQ v1 words back to weights. Shares nothing with the packer: it takes every code out of the stream by its bit
// position, so that a mistake in the packer cannot hide in both.
#include <algorithm>
#include <bit>
#include <cstdint>

#include "engine/formats/gptq.h"

namespace gridquant::formats {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr int64_t kWordBits = 32;
constexpr int64_t kTile = 64;

Status wrong(const TensorSource& checkpoint, const std::string& tensor, const std::string& what) {
  return absl::FailedPreconditionError(checkpoint.path() + ": tensor \"" + tensor + "\" " + what +
                                       "; this is not a GPTQ checkpoint that gridquant can read");
}

StatusOr<Tensor> read_part(const TensorSource& checkpoint, const std::string& name, DType dtype, size_t rank) {
  GQ_ASSIGN_OR_RETURN(Tensor part, checkpoint.read(name));
  if (part.dtype() != dtype) {
    return wrong(checkpoint, name,
                 "is " + std::string(tensor::name_of(part.dtype())) + ", not " + std::string(tensor::name_of(dtype)));
  }
  if (part.shape().size() != rank || part.count() == 0) {
    return wrong(checkpoint, name, "has the shape " + tensor::to_string(part.shape()));
  }
  return part;
}

Status check_shape(const TensorSource& checkpoint, const std::string& name, const Tensor& part,
                   const tensor::Shape& shape) {
  if (part.shape() == shape) return absl::OkStatus();
  return wrong(checkpoint, name,
               "has the shape " + tensor::to_string(part.shape()) + " where " + tensor::to_string(shape) + " belongs");
}

Status check_values(const TensorSource& checkpoint, const std::string& module, const GptqWeight& parts) {
  for (const tensor::F16 scale : parts.scales.as<tensor::F16>()) {
    if ((scale.bits & 0x7c00) == 0x7c00) return wrong(checkpoint, module + ".scales", "holds NaN or infinity");
  }
  for (const int32_t group : parts.g_idx.as<int32_t>()) {
    if (group < 0 || group >= parts.groups) {
      return wrong(checkpoint, module + ".g_idx",
                   "holds the group " + std::to_string(group) + " of " + std::to_string(parts.groups));
    }
  }
  return absl::OkStatus();
}

StatusOr<GptqWeight> read_container(const TensorSource& checkpoint, const std::string& module, int bits) {
  GptqWeight parts;
  parts.bits = bits;
  GQ_ASSIGN_OR_RETURN(parts.qweight, read_part(checkpoint, module + ".qweight", DType::kI32, 2));
  GQ_ASSIGN_OR_RETURN(parts.qzeros, read_part(checkpoint, module + ".qzeros", DType::kI32, 2));
  GQ_ASSIGN_OR_RETURN(parts.scales, read_part(checkpoint, module + ".scales", DType::kF16, 2));
  GQ_ASSIGN_OR_RETURN(parts.g_idx, read_part(checkpoint, module + ".g_idx", DType::kI32, 1));
  parts.groups = parts.scales.dim(0);
  parts.rows = parts.scales.dim(1);
  parts.cols = parts.g_idx.dim(0);
  if (parts.rows % kWordBits != 0 || parts.cols % kWordBits != 0) {
    return wrong(checkpoint, module + ".qweight",
                 "is for a weight of " + tensor::to_string({parts.rows, parts.cols}) + ", not multiples of 32");
  }
  GQ_RETURN_IF_ERROR(
      check_shape(checkpoint, module + ".qweight", parts.qweight, {parts.cols / kWordBits * bits, parts.rows}));
  GQ_RETURN_IF_ERROR(
      check_shape(checkpoint, module + ".qzeros", parts.qzeros, {parts.groups, parts.rows / kWordBits * bits}));
  GQ_RETURN_IF_ERROR(check_values(checkpoint, module, parts));
  return parts;
}

// Element `index` of the stream whose words are `words[0]`, `words[step]`, `words[2 * step]`, ...
uint32_t take(const int32_t* words, int64_t step, int64_t index, int bits) {
  const int64_t bit = index * bits;
  const int64_t word = bit / kWordBits;
  const int shift = static_cast<int>(bit % kWordBits);
  uint64_t window = static_cast<uint32_t>(words[word * step]);
  if (shift + bits > kWordBits) window |= uint64_t{static_cast<uint32_t>(words[(word + 1) * step])} << kWordBits;
  return static_cast<uint32_t>(window >> shift) & ((1u << bits) - 1);
}

// True zero points [G, N]. In v1 the stored value is one less; the largest stored value would mean 2^bits, which some
// loaders wrap to 0 and others do not.
StatusOr<std::vector<int32_t>> read_zeros(const TensorSource& checkpoint, const std::string& module,
                                          const GptqWeight& parts) {
  std::vector<int32_t> zeros(static_cast<size_t>(parts.groups * parts.rows));
  for (int64_t group = 0; group < parts.groups; ++group) {
    const int32_t* words = parts.qzeros.as<int32_t>().data() + group * parts.qzeros.dim(1);
    for (int64_t n = 0; n < parts.rows; ++n) {
      const int32_t zero = static_cast<int32_t>(take(words, 1, n, parts.bits)) + 1;
      if (zero == 1 << parts.bits) {
        return wrong(checkpoint, module + ".qzeros", "holds the zero point -1, which loaders read differently");
      }
      zeros[group * parts.rows + n] = zero;
    }
  }
  return zeros;
}

// One input row k of the container, for `count` outputs from n on: value = scale * (code - zero).
struct RowView {
  const int32_t* low;   // the word row that holds the first bit
  const int32_t* high;  // the one that holds the last bit (the same, or the next)
  const float* scales;
  const int32_t* zeros;
  int shift;
  int bits;
};

void dequantize_row(const RowView& row, int64_t count, float* out) {
  const uint32_t mask = (1u << row.bits) - 1;
  if (row.low == row.high) {
    for (int64_t n = 0; n < count; ++n) {
      const uint32_t code = static_cast<uint32_t>(row.low[n]) >> row.shift & mask;
      out[n] = row.scales[n] * static_cast<float>(static_cast<int32_t>(code) - row.zeros[n]);
    }
    return;
  }
  for (int64_t n = 0; n < count; ++n) {
    const uint32_t code = (static_cast<uint32_t>(row.low[n]) >> row.shift | static_cast<uint32_t>(row.high[n])
                                                                                << (kWordBits - row.shift)) &
                          mask;
    out[n] = row.scales[n] * static_cast<float>(static_cast<int32_t>(code) - row.zeros[n]);
  }
}

}  // namespace

StatusOr<GptqWeight> read_gptq(const TensorSource& checkpoint, const std::string& module, int bits) {
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
    return absl::InvalidArgumentError(module + ": the GPTQ container has no " + std::to_string(bits) + "-bit form");
  }
  GQ_ASSIGN_OR_RETURN(GptqWeight parts, read_container(checkpoint, module, bits));
  GQ_ASSIGN_OR_RETURN(parts.zeros, read_zeros(checkpoint, module, parts));
  return parts;
}

StatusOr<Tensor> dequantize_gptq(const TensorSource& checkpoint, const std::string& module, int bits) {
  GQ_ASSIGN_OR_RETURN(const GptqWeight parts, read_gptq(checkpoint, module, bits));
  return dequantize(parts);
}

Tensor dequantize(const GptqWeight& parts) {
  const int bits = parts.bits;
  const Tensor scales = tensor::to_f32(parts.scales);
  const int32_t* words = parts.qweight.as<int32_t>().data();
  const auto g_idx = parts.g_idx.as<int32_t>();
  Tensor out(DType::kF32, {parts.rows, parts.cols});
  float* values = out.as<float>().data();
  float tile[kTile * kTile];
  for (int64_t n = 0; n < parts.rows; n += kTile) {
    const int64_t tile_rows = std::min(kTile, parts.rows - n);
    for (int64_t k = 0; k < parts.cols; k += kTile) {
      const int64_t tile_cols = std::min(kTile, parts.cols - k);
      for (int64_t j = 0; j < tile_cols; ++j) {
        const int64_t bit = (k + j) * bits;
        const int64_t group = g_idx[k + j] * parts.rows + n;
        const RowView row{
            words + bit / kWordBits * parts.rows + n, words + (bit + bits - 1) / kWordBits * parts.rows + n,
            scales.as<float>().data() + group,        parts.zeros.data() + group,
            static_cast<int>(bit % kWordBits),        bits};
        dequantize_row(row, tile_rows, tile + j * kTile);
      }
      for (int64_t i = 0; i < tile_rows; ++i) {
        float* to = values + (n + i) * parts.cols + k;
        for (int64_t j = 0; j < tile_cols; ++j) to[j] = tile[j * kTile + i];
      }
    }
  }
  return out;
}

}  // namespace gridquant::formats
