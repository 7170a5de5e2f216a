// Top-k of a softmax, and the counting sort of its picks by expert.
#include "engine/model/routing.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace gridquant::model {
namespace {

// One token's picks: the experts of the largest logits.
void pick(const float* logits, int64_t experts, std::span<int32_t> picks) {
  for (size_t i = 0; i < picks.size(); ++i) {
    const auto taken = picks.first(i);
    int32_t best = -1;
    for (int32_t e = 0; e < experts; ++e) {
      if (std::find(taken.begin(), taken.end(), e) != taken.end()) continue;
      if (best < 0 || logits[e] > logits[best]) best = e;
    }
    picks[i] = best;
  }
}

// The softmax's shares of the picked experts: of all experts, or of the picked ones alone.
void weigh(const float* logits, int64_t experts, std::span<const int32_t> picks, bool normalized,
           std::span<float> shares) {
  const double largest = logits[picks.front()];
  double sum = 0;
  if (normalized) {
    for (const int32_t e : picks) sum += std::exp(logits[e] - largest);
  } else {
    for (int64_t e = 0; e < experts; ++e) sum += std::exp(logits[e] - largest);
  }
  for (size_t i = 0; i < picks.size(); ++i) {
    shares[i] = static_cast<float>(std::exp(logits[picks[i]] - largest) / sum);
  }
}

}  // namespace

void route(tensor::Matrix<const float> logits, const RoutingRule& rule, Routing& out) {
  const int64_t experts = logits.cols;
  assert(rule.top_k >= 1 && rule.top_k <= experts);
  const auto top_k = static_cast<size_t>(rule.top_k);
  const size_t rows = static_cast<size_t>(logits.rows) * top_k;
  std::vector<int32_t> picks(rows);
  std::vector<float> shares(rows);
  out.begins.assign(static_cast<size_t>(experts) + 1, 0);
  for (int64_t t = 0; t < logits.rows; ++t) {
    const std::span<int32_t> own = std::span(picks).subspan(static_cast<size_t>(t) * top_k, top_k);
    pick(logits.row(t), experts, own);
    weigh(logits.row(t), experts, own, rule.normalized,
          std::span(shares).subspan(static_cast<size_t>(t) * top_k, top_k));
    for (const int32_t e : own) ++out.begins[static_cast<size_t>(e) + 1];
  }
  for (size_t e = 1; e < out.begins.size(); ++e) out.begins[e] += out.begins[e - 1];
  out.tokens.resize(rows);
  out.weights.resize(rows);
  std::vector<int64_t> next(out.begins.begin(), out.begins.end() - 1);
  for (size_t i = 0; i < rows; ++i) {
    const auto to = static_cast<size_t>(next[static_cast<size_t>(picks[i])]++);
    out.tokens[to] = static_cast<int32_t>(i / top_k);
    out.weights[to] = shares[i];
  }
}

}  // namespace gridquant::model
