// Op `attention_step` on the CPU: for every sequence and key/value head, scores of 16 tokens at a time, softmax, and
// the weighted sum of the values.
#include "engine/ops/attention_step.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "engine/ops/head_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/attention_step_cpu.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

// scores[t] = q . k_t for t in [begin, end), both multiples of 16. keys is [dim, stride].
void step_scores(const float* q, const float* keys, const int64_t* dims, float* scores) {
  const FloatTag d;
  const auto [dim, stride, begin, end] = std::tuple(dims[0], dims[1], dims[2], dims[3]);
  for (int64_t t = begin; t < end; t += lanes()) {
    FloatVec sum = hn::Zero(d);
    for (int64_t i = 0; i < dim; ++i) sum = hn::MulAdd(hn::Set(d, q[i]), hn::LoadU(d, keys + i * stride + t), sum);
    hn::StoreU(sum, d, scores + t);
  }
}

// x[i] = exp(x[i] - most) for i in [0, count), a multiple of 16.
void step_exp(float* x, int64_t count, float most) {
  const FloatTag d;
  for (int64_t i = 0; i < count; i += lanes()) {
    hn::StoreU(exp_not_positive(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, most))), d, x + i);
  }
}

// sums[i] = sum over t in [begin, end) of p[t] * values[t, i]; values is [., width], a multiple of 16.
void step_values(const float* p, const float* values, const int64_t* dims, float* sums) {
  const FloatTag d;
  const auto [width, begin, end] = std::tuple(dims[0], dims[1], dims[2]);
  for (int64_t i = 0; i < width; i += lanes()) {
    FloatVec sum = hn::Zero(d);
    for (int64_t t = begin; t < end; ++t) {
      sum = hn::MulAdd(hn::Set(d, p[t]), hn::LoadU(d, values + t * width + i), sum);
    }
    hn::StoreU(sum, d, sums + i);
  }
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(step_scores);
HWY_EXPORT(step_exp);
HWY_EXPORT(step_values);

namespace {

constexpr int64_t kLanes = 16;

int64_t padded(int64_t n) {
  return (n + kLanes - 1) / kLanes * kLanes;
}

void load_row(const Operand& x, int64_t row, float* to) {
  if (x.compute == Compute::kBF16) {
    const tensor::BF16* from = x.bf16().row(row);
    for (int64_t i = 0; i < x.cols; ++i) to[i] = tensor::to_float(from[i]);
  } else {
    std::copy(x.f32().row(row), x.f32().row(row) + x.cols, to);
  }
}

}  // namespace

KvCache::KvCache(int64_t sequences, int64_t kv_heads, int64_t head_dim, int64_t capacity)
    : sequences_(sequences),
      kv_heads_(kv_heads),
      head_dim_(head_dim),
      capacity_(capacity),
      stride_(padded(capacity)),
      width_(padded(head_dim)),
      keys_(tensor::DType::kF32, {sequences * kv_heads * head_dim, stride_}),
      values_(tensor::DType::kF32, {sequences * kv_heads * capacity, width_}) {
  // What lies beyond the length is read (sixteen tokens at a time) and then dropped: it must be numbers.
  std::memset(keys_.raw().data(), 0, keys_.bytes());
  std::memset(values_.raw().data(), 0, values_.bytes());
}

int64_t KvCache::bytes_for(int64_t sequences, int64_t kv_heads, int64_t head_dim, int64_t capacity) {
  const int64_t floats = head_dim * padded(capacity) + capacity * padded(head_dim);
  return sequences * kv_heads * floats * static_cast<int64_t>(sizeof(float));
}

float* KvCache::keys(int64_t sequence, int64_t kv_head) {
  return keys_.as<float>().data() + (sequence * kv_heads_ + kv_head) * head_dim_ * stride_;
}

float* KvCache::values(int64_t sequence, int64_t kv_head) {
  return values_.as<float>().data() + (sequence * kv_heads_ + kv_head) * capacity_ * width_;
}

// One call of the op.
class AttentionStep {
 public:
  AttentionStep(const AttentionShape& shape, const AttentionInput& input, const Operand& out, KvCache& cache)
      : shape_(shape),
        in_(input),
        out_(out),
        cache_(cache),
        row_(static_cast<size_t>(cache.width_)),
        sums_(static_cast<size_t>(cache.width_)),
        scores_(static_cast<size_t>(cache.stride_)) {}

  Status run() {
    const bool fits = cache_.sequences_ == out_.rows && cache_.kv_heads_ == shape_.kv_heads &&
                      cache_.head_dim_ == shape_.head_dim && in_.q.rows == shape_.heads * out_.rows &&
                      in_.k.rows == shape_.kv_heads * out_.rows && in_.v.rows == in_.k.rows &&
                      in_.q.cols == shape_.head_dim && out_.cols == shape_.heads * shape_.head_dim;
    if (!fits) {
      return absl::InvalidArgumentError(absl::StrCat("attention_step: a cache of ", cache_.sequences_, " sequences, ",
                                                     in_.q.rows, " rows of q, out ", out_.rows, " x ", out_.cols));
    }
    if (cache_.length_ == cache_.capacity_) {
      return absl::FailedPreconditionError(
          absl::StrCat("attention_step: the cache is full (", cache_.capacity_, " tokens)"));
    }
    const int64_t group = shape_.heads / shape_.kv_heads;
    for (int64_t sequence = 0; sequence < out_.rows; ++sequence) {
      for (int64_t kv = 0; kv < shape_.kv_heads; ++kv) {
        append(sequence, kv);
        for (int64_t head = kv * group; head < (kv + 1) * group; ++head) attend(sequence, kv, head, group);
      }
    }
    ++cache_.length_;
    return absl::OkStatus();
  }

 private:
  void append(int64_t sequence, int64_t kv) {
    const int64_t at = cache_.length_;
    load_row(in_.k, kv * out_.rows + sequence, row_.data());
    float* keys = cache_.keys(sequence, kv);
    for (int64_t i = 0; i < shape_.head_dim; ++i) keys[i * cache_.stride_ + at] = row_[static_cast<size_t>(i)];
    load_row(in_.v, kv * out_.rows + sequence, cache_.values(sequence, kv) + at * cache_.width_);
  }

  void attend(int64_t sequence, int64_t kv, int64_t head, int64_t group) {
    const int64_t end = cache_.length_ + 1;
    const int64_t begin = first_seen(end);
    load_row(in_.q, head_row(group, out_.rows, head, sequence), row_.data());
    const int64_t score_dims[] = {shape_.head_dim, cache_.stride_, begin / kLanes * kLanes, padded(end)};
    HWY_DYNAMIC_DISPATCH(step_scores)(row_.data(), cache_.keys(sequence, kv), score_dims, scores_.data());
    float most = -std::numeric_limits<float>::infinity();
    for (int64_t t = begin; t < end; ++t) most = std::max(most, scores_[static_cast<size_t>(t)] = capped(t));
    // The scores of a whole number of vectors: those outside of [begin, end) are kept from overflowing.
    for (int64_t t = score_dims[2]; t < begin; ++t) scores_[static_cast<size_t>(t)] = most;
    for (int64_t t = end; t < score_dims[3]; ++t) scores_[static_cast<size_t>(t)] = most;
    HWY_DYNAMIC_DISPATCH(step_exp)(scores_.data() + score_dims[2], score_dims[3] - score_dims[2], most);
    double sum = 0;
    for (int64_t t = begin; t < end; ++t) sum += scores_[static_cast<size_t>(t)];
    const int64_t value_dims[] = {cache_.width_, begin, end};
    HWY_DYNAMIC_DISPATCH(step_values)(scores_.data(), cache_.values(sequence, kv), value_dims, sums_.data());
    store(sequence, head, static_cast<float>(1.0 / sum));
  }

  int64_t first_seen(int64_t end) const { return shape_.window > 0 ? std::max<int64_t>(end - shape_.window, 0) : 0; }

  float capped(int64_t t) const {
    const float score = scores_[static_cast<size_t>(t)] * shape_.scale;
    const float cap = shape_.soft_cap;
    return cap > 0 ? cap * std::tanh(score / cap) : score;
  }

  void store(int64_t sequence, int64_t head, float factor) {
    const int64_t dim = shape_.head_dim;
    for (int64_t i = 0; i < dim; ++i) {
      const float value = sums_[static_cast<size_t>(i)] * factor;
      if (out_.compute == Compute::kBF16) {
        out_.bf16().row(sequence)[head * dim + i] = tensor::to_bf16(value);
      } else {
        out_.f32().row(sequence)[head * dim + i] = value;
      }
    }
  }

  const AttentionShape& shape_;
  const AttentionInput& in_;
  const Operand& out_;
  KvCache& cache_;
  std::vector<float> row_, sums_, scores_;
};

Status attention_step(const AttentionShape& shape, const AttentionInput& input, const Operand& out, KvCache& cache) {
  return AttentionStep(shape, input, out, cache).run();
}

}  // namespace gridquant::ops
#endif
