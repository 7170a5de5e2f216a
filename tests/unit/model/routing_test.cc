// Routing against plain loops: which experts, with what weight, in what order; and the rows of a site's parts.
#include "engine/model/routing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "engine/model/site_parts.h"

namespace gridquant::model {
namespace {

using ::testing::ElementsAre;

tensor::Tensor random_logits(int64_t tokens, int64_t experts, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 2);
  tensor::Tensor logits(tensor::DType::kF32, {tokens, experts});
  for (float& v : logits.as<float>()) v = normal(random);
  return logits;
}

// The experts of a token, best first.
std::vector<int64_t> ranked(const float* logits, int64_t experts) {
  std::vector<int64_t> order(static_cast<size_t>(experts));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return logits[a] > logits[b]; });
  return order;
}

TEST(Routing, EqualsPlainLoops) {
  for (const auto& [experts, top_k] : std::vector<std::pair<int64_t, int64_t>>{{8, 2}, {5, 1}, {16, 4}, {3, 3}}) {
    for (const bool normalized : {true, false}) {
      const tensor::Tensor logits = random_logits(57, experts, static_cast<uint64_t>(experts));
      Routing routing;
      route(logits.matrix<float>(), {top_k, normalized}, routing);
      ASSERT_EQ(routing.experts(), experts);
      int64_t packed = 0;
      for (int64_t e = 0; e < experts; ++e) {
        EXPECT_EQ(routing.begin(e), packed);
        for (int64_t t = 0; t < 57; ++t) {
          const float* row = logits.matrix<float>().row(t);
          const std::vector<int64_t> order = ranked(row, experts);
          if (std::find(order.begin(), order.begin() + top_k, e) == order.begin() + top_k) continue;
          double sum = 0;
          for (int64_t i = 0; i < (normalized ? top_k : experts); ++i) sum += std::exp(double{row[order[i]]});
          ASSERT_EQ(routing.tokens[packed], t);
          EXPECT_NEAR(routing.weights[packed], std::exp(double{row[e]}) / sum, 1e-6);
          ++packed;
        }
        EXPECT_EQ(routing.count(e), packed - routing.begin(e));
      }
      EXPECT_EQ(packed, 57 * top_k);
    }
  }
}

TEST(Routing, TheLowerExpertFirstAmongEquals) {
  tensor::Tensor logits(tensor::DType::kF32, {2, 4});
  const std::vector<float> values = {1, 3, 3, 3, 2, 2, 2, 2};
  std::copy(values.begin(), values.end(), logits.as<float>().begin());
  Routing routing;
  route(logits.matrix<float>(), {2, true}, routing);
  EXPECT_THAT(routing.begins, ElementsAre(0, 1, 3, 4, 4));
  EXPECT_THAT(routing.tokens, ElementsAre(1, 0, 1, 0));
  EXPECT_THAT(routing.weights, ElementsAre(0.5f, 0.5f, 0.5f, 0.5f));
}

TEST(Routing, EveryTokenHasItsExpertsWhateverTheLogits) {
  tensor::Tensor logits(tensor::DType::kF32, {3, 4});
  std::fill(logits.as<float>().begin(), logits.as<float>().end(), std::numeric_limits<float>::quiet_NaN());
  for (int64_t e = 0; e < 4; ++e) logits.matrix<float>().row(1)[e] = -std::numeric_limits<float>::infinity();
  logits.matrix<float>().row(2)[3] = 1e30f;
  Routing routing;
  route(logits.matrix<float>(), {3, false}, routing);
  EXPECT_EQ(routing.tokens.size(), 9u);
  std::vector<int> of_token(3);
  for (int64_t e = 0; e < 4; ++e) {
    for (const int32_t t : routing.tokens_of(e)) ++of_token[t];
    EXPECT_LE(routing.count(e), 3);
  }
  EXPECT_THAT(of_token, ElementsAre(3, 3, 3));
}

TEST(SiteParts, DenseAndRouted) {
  const auto dense = parts_of({"mlp_input", 8, {"a", "b"}});
  ASSERT_EQ(dense.size(), 1u);
  EXPECT_EQ(dense[0].name, "mlp_input");
  EXPECT_EQ(dense[0].expert, -1);
  const auto routed = parts_of({"mlp_input", 8, {"0.gate", "0.up", "1.gate", "1.up"}, 2});
  ASSERT_EQ(routed.size(), 2u);
  EXPECT_EQ(routed[1].name, "mlp_input.1");
  EXPECT_THAT(routed[1].weights, ElementsAre("1.gate", "1.up"));
}

TEST(SiteParts, RowsOfAnExpert) {
  const SiteSpec by_token{"mlp_input", 3, {"0", "1", "2"}, 3};
  const SiteSpec packed{"mlp_output", 3, {"0", "1", "2"}, 3, true, 2};
  const tensor::Tensor logits = random_logits(11, 3, 4);
  Routing routing;
  route(logits.matrix<float>(), {2, true}, routing);
  tensor::Tensor hidden(tensor::DType::kF32, {11, 3});
  const SequenceView sequence{hidden.matrix<float>(), &routing};
  ops::OperandBuffer tokens(ops::Compute::kF32, 11, 3), rows(ops::Compute::kF32, 22, 3), to(ops::Compute::kF32, 22, 3);
  for (int64_t i = 0; i < 66; ++i) rows.view().f32().data[i] = static_cast<float>(i);
  for (int64_t i = 0; i < 33; ++i) tokens.view().f32().data[i] = static_cast<float>(i);
  for (const SitePart& part : parts_of(by_token)) {
    const int64_t count = row_count(by_token, part, sequence);
    EXPECT_EQ(count, routing.count(part.expert));
    gather_rows(by_token, part, sequence, tokens.view(), to.view());
    for (int64_t r = 0; r < count; ++r) {
      EXPECT_EQ(to.view().f32().row(r)[2], static_cast<float>(3 * routing.tokens_of(part.expert)[r] + 2));
    }
    gather_rows(packed, part, sequence, rows.view(), to.view());
    for (int64_t r = 0; r < count; ++r) {
      EXPECT_EQ(to.view().f32().row(r)[1], static_cast<float>(3 * (routing.begin(part.expert) + r) + 1));
    }
  }
}

}  // namespace
}  // namespace gridquant::model
