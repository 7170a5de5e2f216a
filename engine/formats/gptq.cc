// Packing into GPTQ v1 words. A column of codes is one dense stream of bits, least significant first, in 32-bit words
// (quantizers.md 2.1): 32 codes always fill exactly `bits` words, for 3 bits too.
//
// Codes come as [N, K], words go as [K * bits / 32, N]: tiles small enough for the first-level cache turn them round.
#include "engine/formats/gptq.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace gridquant::formats {
namespace {

static_assert(std::endian::native == std::endian::little, "codes are packed eight at a time as one little-endian word");

using quant::QuantizedWeight;
using tensor::DType;
using tensor::Tensor;

constexpr int64_t kRun = 32;       // codes that fill whole words, whatever the number of bits
constexpr int64_t kTileRows = 64;  // of codes [N, K]
constexpr int64_t kTileRuns = 16;  // 512 codes of a row
constexpr int kLargestBits = 8;

// Eight codes, one a byte, moved together into the low 8 * Bits bits.
template <int Bits>
uint64_t pack_eight(uint64_t codes) {
  if constexpr (Bits == 8) return codes;
  constexpr uint64_t kPairs = 0x0001000100010001u * ((1u << (2 * Bits)) - 1);
  constexpr uint64_t kFours = 0x0000000100000001u * ((uint64_t{1} << (4 * Bits)) - 1);
  codes = (codes | codes >> (8 - Bits)) & kPairs;
  codes = (codes | codes >> (2 * (8 - Bits))) & kFours;
  return (codes | codes >> (4 * (8 - Bits))) & (Bits == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * Bits % 64)) - 1);
}

// 32 codes into Bits words. Returns the bitwise or of the codes, for the range check.
template <int Bits>
uint64_t pack_run(const uint8_t* codes, uint32_t* words) {
  uint64_t eight[4];
  std::memcpy(eight, codes, sizeof(eight));
  const uint64_t a = pack_eight<Bits>(eight[0]);
  const uint64_t b = pack_eight<Bits>(eight[1]);
  const uint64_t c = pack_eight<Bits>(eight[2]);
  const uint64_t d = pack_eight<Bits>(eight[3]);
  if constexpr (Bits == 2) {
    words[0] = static_cast<uint32_t>(a | b << 16);
    words[1] = static_cast<uint32_t>(c | d << 16);
  } else if constexpr (Bits == 3) {
    words[0] = static_cast<uint32_t>(a | b << 24);
    words[1] = static_cast<uint32_t>(b >> 8 | c << 16);
    words[2] = static_cast<uint32_t>(c >> 16 | d << 8);
  } else if constexpr (Bits == 4) {
    words[0] = static_cast<uint32_t>(a);
    words[1] = static_cast<uint32_t>(b);
    words[2] = static_cast<uint32_t>(c);
    words[3] = static_cast<uint32_t>(d);
  } else {
    std::memcpy(words, eight, sizeof(eight));
  }
  return eight[0] | eight[1] | eight[2] | eight[3];
}

struct CodeTile {
  const uint8_t* codes;  // first code
  int64_t stride;        // codes from one row to the next
  int64_t rows;          // <= kTileRows
  int64_t runs;          // <= kTileRuns
  uint32_t* out;         // first word
  int64_t out_stride;    // words from one row of words to the next
};

template <int Bits>
uint64_t pack_tile(const CodeTile& tile) {
  constexpr int64_t kWords = kTileRuns * Bits;
  std::array<uint32_t, kTileRows*(kWords + 1)> words;  // one more: columns of the tile fall into different cache sets
  uint64_t seen = 0;
  for (int64_t row = 0; row < tile.rows; ++row) {
    for (int64_t run = 0; run < tile.runs; ++run) {
      seen |= pack_run<Bits>(tile.codes + row * tile.stride + run * kRun, &words[row * (kWords + 1) + run * Bits]);
    }
  }
  for (int64_t word = 0; word < tile.runs * Bits; ++word) {
    uint32_t* out = tile.out + word * tile.out_stride;
    for (int64_t row = 0; row < tile.rows; ++row) out[row] = words[row * (kWords + 1) + word];
  }
  return seen;
}

// codes [rows, cols] -> words [cols * Bits / 32, rows]. Returns the bitwise or of all codes, folded into each byte.
template <int Bits>
uint64_t pack_matrix(const uint8_t* codes, int64_t rows, int64_t cols, uint32_t* out) {
  uint64_t seen = 0;
  const int64_t runs = cols / kRun;
  for (int64_t row = 0; row < rows; row += kTileRows) {
    for (int64_t run = 0; run < runs; run += kTileRuns) {
      seen |= pack_tile<Bits>({codes + row * cols + run * kRun, cols, std::min(kTileRows, rows - row),
                               std::min(kTileRuns, runs - run), out + run * Bits * rows + row, rows});
    }
  }
  return seen;
}

uint64_t pack_matrix(int bits, const uint8_t* codes, int64_t rows, int64_t cols, uint32_t* out) {
  switch (bits) {
    case 2:
      return pack_matrix<2>(codes, rows, cols, out);
    case 3:
      return pack_matrix<3>(codes, rows, cols, out);
    case 4:
      return pack_matrix<4>(codes, rows, cols, out);
    default:
      return pack_matrix<8>(codes, rows, cols, out);
  }
}

Status check(const std::string& module, const QuantizedWeight& weight) {
  const int bits = weight.grid.bits;
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
    return absl::InvalidArgumentError(module + ": the GPTQ container has no " + std::to_string(bits) +
                                      "-bit form; use 2, 3, 4 or 8 bits");
  }
  if (weight.rows <= 0 || weight.cols <= 0 || weight.rows % kRun != 0 || weight.cols % kRun != 0) {
    return absl::InvalidArgumentError(module +
                                      ": the GPTQ container needs both dimensions to be multiples of 32, not " +
                                      tensor::to_string({weight.rows, weight.cols}) + "; exclude this tensor");
  }
  if (weight.grid.group_size != -1 && weight.grid.group_size <= 0) {
    return absl::InvalidArgumentError(module + ": group size " + std::to_string(weight.grid.group_size));
  }
  const size_t groups = static_cast<size_t>(weight.rows * weight.groups());
  if (weight.codes.size() != static_cast<size_t>(weight.rows * weight.cols) || weight.scales.size() != groups ||
      weight.zeros.size() != groups) {
    return absl::InternalError(module + ": codes, scales or zeros do not have the weight's size");
  }
  for (const tensor::F16 scale : weight.scales) {
    if ((scale.bits & 0x7c00) == 0x7c00) return absl::InternalError(module + ": a scale is not a finite number");
  }
  for (const uint8_t zero : weight.zeros) {
    // Stored minus one: 0 would become -1 and spill into its neighbours in other people's loaders.
    if (zero < 1 || zero > weight.grid.max_code()) {
      return absl::InternalError(module + ": zero point " + std::to_string(zero) + " cannot be stored in GPTQ v1");
    }
    if (weight.grid.symmetric && zero != 1 << (bits - 1)) {
      return absl::InternalError(module + ": zero point " + std::to_string(zero) + " on a symmetric grid");
    }
  }
  return absl::OkStatus();
}

// [groups, N] words along N: the same streams as the codes', with N in the part of K and groups in the part of N,
// but turned back, so that a group is a row.
Tensor pack_zeros(const QuantizedWeight& weight) {
  const int64_t groups = weight.groups();
  const int bits = weight.grid.bits;
  Tensor out(DType::kI32, {groups, weight.rows * bits / kRun});
  std::vector<uint8_t> stored(static_cast<size_t>(weight.rows));
  for (int64_t group = 0; group < groups; ++group) {
    for (int64_t row = 0; row < weight.rows; ++row) stored[row] = weight.zeros[row * groups + group] - 1;
    uint32_t* words = reinterpret_cast<uint32_t*>(out.as<int32_t>().data()) + group * out.dim(1);
    pack_matrix(bits, stored.data(), 1, weight.rows, words);  // one row: its words lie one after another
  }
  return out;
}

Tensor turn_scales(const QuantizedWeight& weight) {
  const int64_t groups = weight.groups();
  Tensor out(DType::kF16, {groups, weight.rows});
  const auto to = out.as<tensor::F16>();
  for (int64_t group = 0; group < groups; ++group) {
    for (int64_t row = 0; row < weight.rows; ++row) to[group * weight.rows + row] = weight.scales[row * groups + group];
  }
  return out;
}

Tensor group_indices(const QuantizedWeight& weight) {
  Tensor out(DType::kI32, {weight.cols});
  const auto to = out.as<int32_t>();
  const int64_t group_columns = weight.grid.group_columns(weight.cols);
  for (int64_t k = 0; k < weight.cols; ++k) to[k] = static_cast<int32_t>(k / group_columns);
  return out;
}

}  // namespace

StatusOr<std::vector<NamedTensor>> to_gptq(const std::string& module, const QuantizedWeight& weight) {
  GQ_RETURN_IF_ERROR(check(module, weight));
  const int bits = weight.grid.bits;
  Tensor qweight(DType::kI32, {weight.cols * bits / kRun, weight.rows});
  uint64_t seen = pack_matrix(bits, weight.codes.data(), weight.rows, weight.cols,
                              reinterpret_cast<uint32_t*>(qweight.as<int32_t>().data()));
  const uint64_t allowed = 0x0101010101010101u * static_cast<uint64_t>(weight.grid.max_code());
  if ((seen & ~allowed) != 0) {
    return absl::InternalError(module + ": a code does not fit into " + std::to_string(bits) + " bits");
  }
  std::vector<NamedTensor> tensors;
  tensors.push_back({module + ".qweight", std::move(qweight)});
  tensors.push_back({module + ".qzeros", pack_zeros(weight)});
  tensors.push_back({module + ".scales", turn_scales(weight)});
  tensors.push_back({module + ".g_idx", group_indices(weight)});
  return tensors;
}

std::vector<std::pair<std::string, TensorEntry>> gptq_entries(const std::string& module, const quant::GridSpec& grid,
                                                              int64_t rows, int64_t cols) {
  const int64_t groups = grid.group_count(cols);
  const auto entry = [](DType dtype, tensor::Shape shape) {
    const uint64_t bytes = static_cast<uint64_t>(tensor::element_count(shape)) * tensor::size_of(dtype);
    return TensorEntry{dtype, std::move(shape), 0, bytes};
  };
  return {{module + ".qweight", entry(DType::kI32, {cols * grid.bits / kRun, rows})},
          {module + ".qzeros", entry(DType::kI32, {groups, rows * grid.bits / kRun})},
          {module + ".scales", entry(DType::kF16, {groups, rows})},
          {module + ".g_idx", entry(DType::kI32, {cols})}};
}

}  // namespace gridquant::formats
