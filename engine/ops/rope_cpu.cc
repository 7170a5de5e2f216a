// Op `rope` on the CPU. See the header for the contract.
#include "engine/ops/rope.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/ops/head_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/rope_cpu.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

// One head of one token: x and out have 2 * half elements.
template <typename Out>
HWY_INLINE void rotate_head(const float* x, const float* cosines, const float* sines, int64_t half, Out* out) {
  const FloatTag d;
  const int64_t step = lanes();
  const auto rotate = [&](int64_t i, int64_t count, const float* first, const float* second, const float* c,
                          const float* s) HWY_ATTR {
    const FloatVec a = hn::LoadU(d, first);
    const FloatVec b = hn::LoadU(d, second);
    const FloatVec cosine = hn::LoadU(d, c);
    const FloatVec sine = hn::LoadU(d, s);
    const FloatVec low = hn::Sub(hn::Mul(a, cosine), hn::Mul(b, sine));
    const FloatVec high = hn::Add(hn::Mul(b, cosine), hn::Mul(a, sine));
    if (count == step) {
      store_as(low, out + i);
      store_as(high, out + half + i);
      return;
    }
    HWY_ALIGN Out pad[kReduceLanes];
    store_as(low, pad);
    std::copy(pad, pad + count, out + i);
    store_as(high, pad);
    std::copy(pad, pad + count, out + half + i);
  };
  int64_t i = 0;
  for (; i + step <= half; i += step) rotate(i, step, x + i, x + half + i, cosines + i, sines + i);
  if (i == half) return;
  HWY_ALIGN float pad[4][kReduceLanes] = {};
  std::copy(x + i, x + half, pad[0]);
  std::copy(x + half + i, x + 2 * half, pad[1]);
  std::copy(cosines + i, cosines + half, pad[2]);
  std::copy(sines + i, sines + half, pad[3]);
  rotate(i, half - i, pad[0], pad[1], pad[2], pad[3]);
}

template <typename Out>
HWY_INLINE void copy_elements(const float* x, int64_t n, Out* out) {
  map2(x, x, n, out, [](FloatVec a, FloatVec) HWY_ATTR { return a; });
}

// The `heads` heads of tokens [begin, begin + count), a tile of ops/head_tiles.h.
template <typename Out>
HWY_INLINE void rope_tile(const tensor::Matrix<const float>& x, const HeadShape& shape, const RopeTable* table,
                          int64_t begin, int64_t count, const tensor::Matrix<Out>& out) {
  const int64_t dim = shape.head_dim;
  const int64_t heads = x.cols / dim;
  const int64_t rotated = table == nullptr ? 0 : table->rotated();
  const int64_t first_row = head_row(shape.group, x.rows, 0, begin);  // of the first key/value head
  for (int64_t t = 0; t < count; ++t) {
    const float* from = x.row(begin + t);
    const float* cosines = table == nullptr ? nullptr : table->cosines(begin + t);
    for (int64_t first = 0; first < heads; first += shape.group) {
      Out* to = out.row(first_row + first * x.rows + t);
      for (int64_t g = 0; g < shape.group; ++g, from += dim, to += count * dim) {
        if (rotated > 0) rotate_head(from, cosines, cosines + rotated / 2, rotated / 2, to);
        if (rotated < dim) copy_elements(from + rotated, dim - rotated, to + rotated);
      }
    }
  }
}

template <typename Out>
void rope_rows(const tensor::Matrix<const float>& x, const HeadShape& shape, const RopeTable* table,
               const tensor::Matrix<Out>& out) {
  for (int64_t begin = 0; begin < x.rows; begin += kTileTokens) {
    rope_tile(x, shape, table, begin, std::min(kTileTokens, x.rows - begin), out);
  }
}

void rope_to(const tensor::Matrix<const float>& x, const HeadShape& shape, const RopeTable* table, const Operand& out) {
  in_type_of(out, [&](const auto& to) HWY_ATTR { rope_rows(x, shape, table, to); });
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(rope_to);

RopeTable::RopeTable(std::span<const float> frequencies, int64_t max_tokens, float magnitude)
    : half_(static_cast<int64_t>(frequencies.size())),
      max_tokens_(max_tokens),
      values_(tensor::DType::kF32, {max_tokens, 2 * half_}) {
  float* row = values_.as<float>().data();
  for (int64_t position = 0; position < max_tokens; ++position, row += 2 * half_) {
    for (int64_t i = 0; i < half_; ++i) {
      const double angle = static_cast<float>(position) * frequencies[static_cast<size_t>(i)];
      row[i] = static_cast<float>(std::cos(angle)) * magnitude;
      row[half_ + i] = static_cast<float>(std::sin(angle)) * magnitude;
    }
  }
}

RopeTable RopeTable::repeated(int64_t position, int64_t count) const {
  RopeTable table;
  table.half_ = half_;
  table.max_tokens_ = count;
  table.values_ = tensor::Tensor(tensor::DType::kF32, {count, 2 * half_});
  for (int64_t i = 0; i < count; ++i) {
    std::copy(cosines(position), cosines(position) + 2 * half_, table.values_.as<float>().data() + i * 2 * half_);
  }
  return table;
}

Status rope(tensor::Matrix<const float> x, const HeadShape& shape, const RopeTable* table, const Operand& out) {
  const int64_t dim = shape.head_dim;
  const bool shapes_fit = dim > 0 && shape.group > 0 && x.cols % (dim * shape.group) == 0 && out.cols == dim &&
                          out.stride == dim && out.rows == x.rows * (x.cols / dim);
  if (!shapes_fit) {
    return absl::InvalidArgumentError(absl::StrCat("rope: x ", x.rows, " x ", x.cols, ", heads of ", dim,
                                                   " in groups of ", shape.group, ", out ", out.rows, " x ", out.cols));
  }
  if (table != nullptr && (table->rotated() > dim || table->max_tokens() < x.rows)) {
    return absl::InvalidArgumentError(absl::StrCat("rope: ", x.rows, " tokens of heads of ", dim,
                                                   ", but the table has ", table->max_tokens(),
                                                   " positions and rotates ", table->rotated()));
  }
  HWY_DYNAMIC_DISPATCH(rope_to)(x, shape, table, out);
  return absl::OkStatus();
}

}  // namespace gridquant::ops
#endif
