// Divergence against a plain fp64 computation, at lengths around every vector width.
#include "engine/eval/divergence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace gridquant::eval {
namespace {

struct Expected {
  double nll_a, nll_b, kl;
  bool agree;
};

Expected reference(const std::vector<float>& a, const std::vector<float>& b, int target) {
  const double max_a = *std::max_element(a.begin(), a.end());
  const double max_b = *std::max_element(b.begin(), b.end());
  double sum_a = 0, sum_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum_a += std::exp(a[i] - max_a);
    sum_b += std::exp(b[i] - max_b);
  }
  Expected e{};
  for (size_t i = 0; i < a.size(); ++i) {
    const double log_p = a[i] - max_a - std::log(sum_a);
    const double log_q = b[i] - max_b - std::log(sum_b);
    e.kl += std::exp(log_p) * (log_p - log_q);
  }
  e.nll_a = -(a[target] - max_a - std::log(sum_a));
  e.nll_b = -(b[target] - max_b - std::log(sum_b));
  e.agree = std::max_element(a.begin(), a.end()) - a.begin() == std::max_element(b.begin(), b.end()) - b.begin();
  return e;
}

std::vector<float> random_row(int n, float spread, std::mt19937& generator) {
  std::normal_distribution<float> normal(3.0f, spread);
  std::vector<float> row(n);
  for (float& x : row) x = normal(generator);
  return row;
}

TEST(Divergence, EqualsPlainComputation) {
  std::mt19937 generator(7);
  for (const int n : {1, 2, 15, 16, 17, 63, 1023, 1024, 1025, 9001}) {
    const std::vector<float> a = random_row(n, 4.0f, generator);
    std::vector<float> b = a;
    const std::vector<float> noise = random_row(n, 0.5f, generator);
    for (int i = 0; i < n; ++i) b[i] += noise[i];
    const int target = n / 2;
    const Expected e = reference(a, b, target);
    Divergence d;
    const std::vector<int32_t> targets = {target};
    fold({a.data(), 1, n, n}, {b.data(), 1, n, n}, targets, d);
    EXPECT_EQ(d.tokens, 1);
    EXPECT_NEAR(d.nll_original, e.nll_a, 1e-5) << n;
    EXPECT_NEAR(d.nll_quantized, e.nll_b, 1e-5) << n;
    EXPECT_NEAR(d.kl, e.kl, 1e-6 + 1e-5 * e.kl) << n;
    EXPECT_EQ(d.kl_max, d.kl);
    EXPECT_EQ(d.top1_agree, e.agree ? 1 : 0) << n;
  }
}

TEST(Divergence, PartsOfTheVocabularyGiveTheSame) {
  std::mt19937 generator(17);
  constexpr int kVocab = 1000;
  const std::vector<float> a = random_row(2 * kVocab, 4.0f, generator);
  std::vector<float> b = a;
  for (float& x : b) x += std::normal_distribution<float>(0, 0.5f)(generator);
  const std::vector<int32_t> targets = {3, 998};
  Divergence whole;
  fold({a.data(), 2, kVocab, kVocab}, {b.data(), 2, kVocab, kVocab}, targets, whole);
  for (const int part : {1, 7, 333, 999}) {
    std::vector<PartialRow> rows(2);
    for (int begin = 0; begin < kVocab; begin += part) {
      const int count = std::min(part, kVocab - begin);
      add_part({a.data() + begin, 2, count, kVocab}, {b.data() + begin, 2, count, kVocab}, begin, targets, rows);
    }
    Divergence d;
    fold_rows(rows, d);
    EXPECT_EQ(d.tokens, 2);
    EXPECT_NEAR(d.kl, whole.kl, 1e-6) << part;
    EXPECT_NEAR(d.nll_original, whole.nll_original, 1e-6) << part;
    EXPECT_NEAR(d.nll_quantized, whole.nll_quantized, 1e-6) << part;
    EXPECT_EQ(d.top1_agree, whole.top1_agree) << part;
  }
}

TEST(Divergence, EqualModelsDivergeByNothing) {
  std::mt19937 generator(8);
  const std::vector<float> a = random_row(3 * 501, 5.0f, generator);
  Divergence d;
  const std::vector<int32_t> targets = {0, 250, 500};
  fold({a.data(), 3, 501, 501}, {a.data(), 3, 501, 501}, targets, d);
  EXPECT_EQ(d.kl, 0);
  EXPECT_EQ(d.nll_original, d.nll_quantized);
  EXPECT_EQ(d.top1_agreement(), 1.0);
}

TEST(Divergence, UniformRowHasPerplexityOfItsLength) {
  const std::vector<float> a(4096, -2.5f);
  Divergence d;
  const std::vector<int32_t> targets = {77};
  fold({a.data(), 1, 4096, 4096}, {a.data(), 1, 4096, 4096}, targets, d);
  EXPECT_NEAR(d.perplexity_original(), 4096, 0.01);
}

TEST(Divergence, ShiftOfAllLogitsChangesNothing) {
  std::mt19937 generator(9);
  const std::vector<float> a = random_row(300, 3.0f, generator);
  std::vector<float> b = a;
  for (float& x : b) x += 64.0f;
  Divergence d;
  const std::vector<int32_t> targets = {5};
  fold({a.data(), 1, 300, 300}, {b.data(), 1, 300, 300}, targets, d);
  EXPECT_NEAR(d.kl, 0, 1e-5);
  EXPECT_EQ(d.top1_agree, 1);
}

TEST(Divergence, MergeAddsAndKeepsTheLargest) {
  Divergence a{.tokens = 2, .nll_original = 1, .nll_quantized = 2, .kl = 0.5, .kl_max = 0.4, .top1_agree = 1};
  const Divergence b{.tokens = 2, .nll_original = 3, .nll_quantized = 6, .kl = 0.1, .kl_max = 0.3, .top1_agree = 2};
  a.merge(b);
  EXPECT_EQ(a.tokens, 4);
  EXPECT_DOUBLE_EQ(a.perplexity_original(), std::exp(1.0));
  EXPECT_DOUBLE_EQ(a.perplexity_quantized(), std::exp(2.0));
  EXPECT_DOUBLE_EQ(a.kl_mean(), 0.15);
  EXPECT_DOUBLE_EQ(a.kl_max, 0.4);
  EXPECT_DOUBLE_EQ(a.top1_agreement(), 0.75);
}

TEST(Divergence, NotANumberStaysVisible) {
  std::vector<float> a(64, 1.0f);
  std::vector<float> b = a;
  b[13] = std::numeric_limits<float>::quiet_NaN();
  Divergence d;
  const std::vector<int32_t> targets = {0};
  fold({a.data(), 1, 64, 64}, {b.data(), 1, 64, 64}, targets, d);
  EXPECT_TRUE(std::isnan(d.kl));
  EXPECT_TRUE(std::isnan(d.kl_max));
}

}  // namespace
}  // namespace gridquant::eval
