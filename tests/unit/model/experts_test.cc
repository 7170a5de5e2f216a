// The mixture of experts of a block against plain fp64 loops; its tables; and that the order of experts means nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/model/architecture.h"
#include "engine/model/site_parts.h"
#include "tests/unit/model/small_model.h"

namespace gridquant::model {
namespace {

using ops::Compute;
using Weights = std::map<std::string, tensor::Tensor>;

constexpr int64_t kTokens = 41;
constexpr char kMoe[] = "model.layers.0.block_sparse_moe.";

ModelConfig small_config(int64_t experts, int64_t per_token) {
  ModelConfig c = samples::small_model("MixtralForCausalLM");
  c.expert_intermediate_size = c.intermediate_size;
  c.expert_count = experts;
  c.experts_per_token = per_token;
  c.normalized_routing = true;
  return c;
}

Weights random_weights(const ModelConfig& config) {
  Weights weights;
  std::mt19937 random(9);
  for (const TensorSpec& spec : architecture_of(config).block_tensors(config, 0)) {
    weights.emplace(spec.name, samples::random_tensor(spec, random));
  }
  return weights;
}

tensor::Tensor copy_of(const tensor::Tensor& t) {
  tensor::Tensor copy(t.dtype(), t.shape());
  std::copy(t.raw().begin(), t.raw().end(), copy.raw().begin());
  return copy;
}

std::unique_ptr<Block> make_block(const ModelConfig& config, const Weights& weights, Compute compute) {
  const Architecture& architecture = architecture_of(config);
  std::vector<tensor::Tensor> others;
  for (const TensorSpec& spec : architecture.block_tensors(config, 0)) {
    if (spec.role != TensorRole::kLinear) others.push_back(copy_of(weights.at(spec.name)));
  }
  auto block = architecture.make_block(config, 0, compute, std::move(others));
  EXPECT_TRUE(block.ok()) << block.status();
  for (const TensorSpec& spec : architecture.block_tensors(config, 0)) {
    if (spec.role != TensorRole::kLinear) continue;
    EXPECT_EQ((*block)->set_weight(spec.name, weights.at(spec.name).matrix<float>()), absl::OkStatus());
  }
  return *std::move(block);
}

// The hidden states before and after the mixture.
struct Walk {
  tensor::Tensor before{tensor::DType::kF32, {kTokens, 20}};
  tensor::Tensor after{tensor::DType::kF32, {kTokens, 20}};
  Routing routing;
};

Walk walk(const ModelConfig& config, const Weights& weights, Compute compute) {
  const auto block = make_block(config, weights, compute);
  const auto scratch = block->make_scratch(kTokens);
  Walk result;
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (float& v : result.after.as<float>()) v = normal(random);
  const SequenceView sequence{result.after.matrix<float>(), &result.routing};
  const std::vector<SiteSpec> sites = architecture_of(config).sites(config, 0);
  std::vector<ops::OperandBuffer> inputs;
  for (const SiteSpec& site : sites) inputs.emplace_back(compute, kTokens * site.rows_per_token, site.width);
  EXPECT_EQ(block->begin(sequence, inputs[0].view(), *scratch), absl::OkStatus());
  for (int s = 0; s < 4; ++s) {
    if (s == 2) std::copy(result.after.raw().begin(), result.after.raw().end(), result.before.raw().begin());
    const ops::Operand next = s < 3 ? inputs[static_cast<size_t>(s) + 1].view() : ops::Operand{};
    EXPECT_EQ(block->advance(s, sequence, inputs[static_cast<size_t>(s)].view(), next, *scratch), absl::OkStatus());
  }
  return result;
}

using Row = std::vector<double>;

Row multiply(const tensor::Tensor& w, const Row& x) {
  Row y;
  for (int64_t o = 0; o < w.rows(); ++o) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += x[i] * w.matrix<float>().row(o)[i];
    y.push_back(sum);
  }
  return y;
}

// What the mixture adds to one token's row, as the paper has it.
Row mixture(const ModelConfig& c, const Weights& w, const float* hidden) {
  Row x(hidden, hidden + c.hidden_size);
  const double squares = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + c.rms_norm_eps);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] *= scale * w.at("model.layers.0.post_attention_layernorm.weight").as<float>()[i];
  }
  const Row logits = multiply(w.at(absl::StrCat(kMoe, "gate.weight")), x);
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  order.resize(static_cast<size_t>(c.experts_per_token));
  double sum = 0;
  for (const size_t e : order) sum += std::exp(logits[e]);
  Row out(x.size());
  for (const size_t e : order) {
    const auto of = [&](const char* layer) { return absl::StrCat(kMoe, "experts.", e, ".", layer, ".weight"); };
    Row inner = multiply(w.at(of("w1")), x);
    const Row up = multiply(w.at(of("w3")), x);
    for (size_t i = 0; i < inner.size(); ++i) inner[i] *= up[i] / (1 + std::exp(-inner[i]));
    const Row y = multiply(w.at(of("w2")), inner);
    for (size_t i = 0; i < y.size(); ++i) out[i] += std::exp(logits[e]) / sum * y[i];
  }
  return out;
}

TEST(Experts, EqualPlainLoops) {
  for (const auto& [experts, per_token] : std::vector<std::pair<int64_t, int64_t>>{{4, 2}, {8, 1}, {3, 3}}) {
    const ModelConfig config = small_config(experts, per_token);
    const Weights weights = random_weights(config);
    const Walk result = walk(config, weights, Compute::kF32);
    EXPECT_EQ(result.routing.begin(experts), kTokens * per_token);
    for (int64_t t = 0; t < kTokens; ++t) {
      const float* before = result.before.matrix<float>().row(t);
      const Row added = mixture(config, weights, before);
      for (size_t i = 0; i < added.size(); ++i) {
        EXPECT_NEAR(result.after.matrix<float>().row(t)[i], before[i] + added[i], 2e-5) << t << " " << i;
      }
    }
  }
}

TEST(Experts, TheirOrderMeansNothingButRounding) {
  const ModelConfig config = small_config(5, 2);
  const Weights weights = random_weights(config);
  Weights moved = random_weights(config);
  for (int64_t e = 0; e < 5; ++e) {
    const int64_t to = (e + 2) % 5;
    for (const char* layer : {"w1", "w2", "w3"}) {
      moved.at(absl::StrCat(kMoe, "experts.", to, ".", layer, ".weight")) =
          copy_of(weights.at(absl::StrCat(kMoe, "experts.", e, ".", layer, ".weight")));
    }
    const tensor::Tensor& router = weights.at(absl::StrCat(kMoe, "gate.weight"));
    std::copy_n(router.matrix<float>().row(e), 20, moved.at(absl::StrCat(kMoe, "gate.weight")).matrix<float>().row(to));
  }
  const Walk a = walk(config, weights, Compute::kF32);
  const Walk b = walk(config, moved, Compute::kF32);
  for (int64_t e = 0; e < 5; ++e) {
    EXPECT_THAT(b.routing.tokens_of((e + 2) % 5), ::testing::ElementsAreArray(a.routing.tokens_of(e)));
  }
  for (size_t i = 0; i < a.after.as<float>().size(); ++i) {
    EXPECT_NEAR(a.after.as<float>()[i], b.after.as<float>()[i], 2e-6);
  }
}

TEST(Experts, Bf16IsNear) {
  const ModelConfig config = small_config(4, 2);
  const Weights weights = random_weights(config);
  const Walk exact = walk(config, weights, Compute::kF32);
  const Walk rounded = walk(config, weights, Compute::kBF16);
  double error = 0, energy = 0;
  for (int64_t t = 0; t < kTokens; ++t) {
    // A token whose routing was flipped by rounding is another sum altogether.
    const auto routed = [&](const Routing& routing) {
      std::vector<int64_t> experts;
      for (int64_t e = 0; e < 4; ++e) {
        const auto tokens = routing.tokens_of(e);
        if (std::find(tokens.begin(), tokens.end(), t) != tokens.end()) experts.push_back(e);
      }
      return experts;
    };
    if (routed(exact.routing) != routed(rounded.routing)) continue;
    for (int64_t i = 0; i < 20; ++i) {
      const double a = exact.after.matrix<float>().row(t)[i];
      error += std::pow(a - rounded.after.matrix<float>().row(t)[i], 2);
      energy += a * a;
    }
  }
  EXPECT_GT(energy, 0);
  EXPECT_LT(std::sqrt(error / energy), 0.02);
}

TEST(Experts, Tables) {
  const ModelConfig config = small_config(3, 2);
  const Architecture& architecture = architecture_of(config);
  const std::vector<TensorSpec> tensors = architecture.block_tensors(config, 0);
  EXPECT_EQ(tensors.size(), 2u + 4u + 1u + 9u);
  const auto router = std::find_if(tensors.begin(), tensors.end(),
                                   [](const TensorSpec& spec) { return spec.role == TensorRole::kRouter; });
  ASSERT_NE(router, tensors.end());
  EXPECT_EQ(router->name, absl::StrCat(kMoe, "gate.weight"));
  EXPECT_THAT(router->shape, ::testing::ElementsAre(3, 20));
  const std::vector<SiteSpec> sites = architecture.sites(config, 0);
  ASSERT_EQ(sites.size(), 4u);
  EXPECT_EQ(sites[1].experts, 0);
  const std::vector<SitePart> input = parts_of(sites[2]);
  ASSERT_EQ(input.size(), 3u);
  EXPECT_THAT(input[1].weights, ::testing::ElementsAre(absl::StrCat(kMoe, "experts.1.w1.weight"),
                                                       absl::StrCat(kMoe, "experts.1.w3.weight")));
  EXPECT_TRUE(sites[3].packed);
  EXPECT_EQ(sites[3].rows_per_token, 2);
  EXPECT_EQ(sites[3].width, 37);
  EXPECT_THAT(parts_of(sites[3])[2].weights, ::testing::ElementsAre(absl::StrCat(kMoe, "experts.2.w2.weight")));
}

TEST(Experts, ABlockWithoutMemoryForItsRoutingIsRefused) {
  const ModelConfig config = small_config(3, 2);
  const auto block = make_block(config, random_weights(config), Compute::kF32);
  const auto scratch = block->make_scratch(kTokens);
  tensor::Tensor hidden(tensor::DType::kF32, {kTokens, 20});
  std::fill(hidden.as<float>().begin(), hidden.as<float>().end(), 1.0f);
  const SequenceView sequence{hidden.matrix<float>(), nullptr};
  const ops::OperandBuffer a(Compute::kF32, kTokens, 24), b(Compute::kF32, kTokens, 24), c(Compute::kF32, kTokens, 24);
  const auto x = [](const ops::OperandBuffer& buffer, int64_t width) {
    return ops::Operand{Compute::kF32, buffer.view().data, kTokens, width, width};
  };
  ASSERT_EQ(block->begin(sequence, x(a, 20), *scratch), absl::OkStatus());
  ASSERT_EQ(block->advance(0, sequence, x(a, 20), x(b, 24), *scratch), absl::OkStatus());
  EXPECT_TRUE(absl::IsInvalidArgument(block->advance(1, sequence, x(b, 24), x(c, 20), *scratch)));
}

}  // namespace
}  // namespace gridquant::model
