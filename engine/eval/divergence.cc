// Divergence of two rows of logits: one pass for the maxima, one for the exponentials, vectorised for whatever vector
// width the CPU has. Not here: making the logits.
#include "engine/eval/divergence.h"

#include <algorithm>
#include <cmath>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/eval/divergence.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, which includes this file once per instruction set.
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

#ifndef GRIDQUANT_ENGINE_EVAL_DIVERGENCE_ONCE
#define GRIDQUANT_ENGINE_EVAL_DIVERGENCE_ONCE
namespace gridquant::eval {

// What the two softmaxes of a part of a row need. Exponents are relative to the part's maxima.
struct RowSums {
  float max_a = 0;
  float max_b = 0;
  size_t argmax_a = 0;  // the first of equal ones
  double sum_a = 0;
  double sum_b = 0;
  double dot = 0;
};

}  // namespace gridquant::eval
#endif

HWY_BEFORE_NAMESPACE();
namespace gridquant::eval::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Partial sums stay in fp32 for this many elements, then go into fp64: a vocabulary of 150,000 loses nothing.
constexpr size_t kSpan = 1024;

float row_max(const float* x, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  float best = x[0];
  size_t i = 0;
  if (n >= lanes) {
    auto m = hn::LoadU(d, x);
    for (i = lanes; i + lanes <= n; i += lanes) m = hn::Max(m, hn::LoadU(d, x + i));
    best = hn::GetLane(hn::MaxOfLanes(d, m));
  }
  for (; i < n; ++i) best = std::max(best, x[i]);
  return best;
}

size_t find_first(const float* x, size_t n, float value) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto wanted = hn::Set(d, value);
  size_t i = 0;
  while (i + lanes <= n && hn::AllFalse(d, hn::Eq(hn::LoadU(d, x + i), wanted))) i += lanes;
  while (i < n && x[i] != value) ++i;
  return i;
}

// Adds elements [begin, begin + count) to `sums`.
void add_span(const float* a, const float* b, size_t count, RowSums& sums) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto max_a = hn::Set(d, sums.max_a);
  const auto max_b = hn::Set(d, sums.max_b);
  auto sum_a = hn::Zero(d);
  auto sum_b = hn::Zero(d);
  auto dot = hn::Zero(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto xa = hn::Sub(hn::LoadU(d, a + i), max_a);
    const auto xb = hn::Sub(hn::LoadU(d, b + i), max_b);
    const auto ea = hn::Exp(d, xa);
    sum_a = hn::Add(sum_a, ea);
    sum_b = hn::Add(sum_b, hn::Exp(d, xb));
    dot = hn::MulAdd(ea, hn::Sub(xa, xb), dot);
  }
  sums.sum_a += hn::GetLane(hn::SumOfLanes(d, sum_a));
  sums.sum_b += hn::GetLane(hn::SumOfLanes(d, sum_b));
  sums.dot += hn::GetLane(hn::SumOfLanes(d, dot));
  for (; i < count; ++i) {
    const float xa = a[i] - sums.max_a;
    const float xb = b[i] - sums.max_b;
    const double ea = std::exp(static_cast<double>(xa));
    sums.sum_a += ea;
    sums.sum_b += std::exp(static_cast<double>(xb));
    sums.dot += ea * (static_cast<double>(xa) - xb);
  }
}

RowSums row_sums(const float* a, const float* b, size_t n) {
  RowSums sums;
  sums.max_a = row_max(a, n);
  sums.max_b = row_max(b, n);
  sums.argmax_a = find_first(a, n, sums.max_a);
  for (size_t i = 0; i < n; i += kSpan) add_span(a + i, b + i, std::min(kSpan, n - i), sums);
  return sums;
}

}  // namespace gridquant::eval::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::eval {
namespace {

HWY_EXPORT(row_sums);

}  // namespace

void Divergence::merge(const Divergence& other) {
  tokens += other.tokens;
  nll_original += other.nll_original;
  nll_quantized += other.nll_quantized;
  kl += other.kl;
  kl_max = std::isnan(other.kl_max) || other.kl_max > kl_max ? other.kl_max : kl_max;
  top1_agree += other.top1_agree;
}

double Divergence::perplexity_original() const {
  return tokens == 0 ? 0 : std::exp(nll_original / tokens);
}
double Divergence::perplexity_quantized() const {
  return tokens == 0 ? 0 : std::exp(nll_quantized / tokens);
}
double Divergence::kl_mean() const {
  return tokens == 0 ? 0 : kl / tokens;
}
double Divergence::top1_agreement() const {
  return tokens == 0 ? 0 : static_cast<double>(top1_agree) / tokens;
}

namespace {

// Exponents that were relative to the old maxima become relative to these. NaN stays NaN.
void shift(double max_a, double max_b, PartialRow& row) {
  const double by_a = max_a - row.max_a;
  const double by_b = max_b - row.max_b;
  const double scale = std::exp(-by_a);
  row.dot = scale * (row.dot + row.sum_a * (by_b - by_a));
  row.sum_a *= scale;
  row.sum_b *= std::exp(-by_b);
  row.max_a = static_cast<float>(max_a);
  row.max_b = static_cast<float>(max_b);
}

void merge(const RowSums& part, const float* b, size_t count, PartialRow& row) {
  const bool found = part.argmax_a < count;
  PartialRow other;
  other.max_a = part.max_a;
  other.max_b = part.max_b;
  other.sum_a = part.sum_a;
  other.sum_b = part.sum_b;
  other.dot = part.dot;
  if (!row.begun) {
    other.target_a = row.target_a;
    other.target_b = row.target_b;
    other.best_b = found ? b[part.argmax_a] : 0;
    other.found = found;
    other.begun = true;
    row = other;
    return;
  }
  if (part.max_a > row.max_a && found) row.best_b = b[part.argmax_a];
  row.found = row.found && found;
  const float max_a = std::max(row.max_a, part.max_a);
  const float max_b = std::max(row.max_b, part.max_b);
  shift(max_a, max_b, row);
  shift(max_a, max_b, other);
  row.sum_a += other.sum_a;
  row.sum_b += other.sum_b;
  row.dot += other.dot;
}

}  // namespace

void add_part(tensor::Matrix<const float> original, tensor::Matrix<const float> quantized, int64_t first_id,
              std::span<const int32_t> targets, std::span<PartialRow> rows) {
  assert(original.rows == quantized.rows && original.cols == quantized.cols && original.cols > 0);
  assert(static_cast<int64_t>(targets.size()) == original.rows && rows.size() == targets.size());
  const auto count = static_cast<size_t>(original.cols);
  for (int64_t r = 0; r < original.rows; ++r) {
    const float* a = original.row(r);
    const float* b = quantized.row(r);
    PartialRow& row = rows[static_cast<size_t>(r)];
    const int64_t target = targets[static_cast<size_t>(r)] - first_id;
    if (target >= 0 && target < original.cols) {
      row.target_a = a[target];
      row.target_b = b[target];
    }
    merge(HWY_DYNAMIC_DISPATCH(row_sums)(a, b, count), b, count, row);
  }
}

void fold_rows(std::span<const PartialRow> rows, Divergence& into) {
  for (const PartialRow& sums : rows) {
    const double log_a = std::log(sums.sum_a);
    const double log_b = std::log(sums.sum_b);
    // A divergence is never negative; what rounding leaves below zero is zero. NaN stays NaN.
    const double kl = sums.dot / sums.sum_a - log_a + log_b;
    Divergence row;
    row.tokens = 1;
    row.nll_original = log_a - (static_cast<double>(sums.target_a) - sums.max_a);
    row.nll_quantized = log_b - (static_cast<double>(sums.target_b) - sums.max_b);
    row.kl = kl < 0 ? 0 : kl;
    row.kl_max = row.kl;
    // A tie in the quantized model that includes the original's choice counts as agreement.
    row.top1_agree = sums.found && sums.best_b == sums.max_b ? 1 : 0;
    into.merge(row);
  }
}

void fold(tensor::Matrix<const float> original, tensor::Matrix<const float> quantized, std::span<const int32_t> targets,
          Divergence& into) {
  std::vector<PartialRow> rows(targets.size());
  add_part(original, quantized, 0, targets, rows);
  fold_rows(rows, into);
}

}  // namespace gridquant::eval
#endif  // HWY_ONCE
