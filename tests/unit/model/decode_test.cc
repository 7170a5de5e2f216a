// Tokens that go through a block one by one, several sequences in lock-step with a cache of keys and values, leave it
// as whole sequences do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/model/architecture.h"
#include "engine/ops/attention_step.h"
#include "tests/unit/model/small_model.h"

namespace gridquant::model {
namespace {

using ops::Compute;
using tensor::Matrix;
using tensor::Tensor;

constexpr int64_t kSequences = 3;
constexpr int64_t kTokens = 37;

// A model of `kind`: an architecture, or Llama with frequencies that depend on the length of the sequence.
ModelConfig config_of(const std::string& kind) {
  const bool by_length = kind == "dynamic" || kind == "longrope";
  const std::string architecture = by_length ? "LlamaForCausalLM" : kind;
  ModelConfig c = samples::small_model(architecture);
  c.attention_bias = true;
  if (architecture == "MixtralForCausalLM") {
    c.attention_bias = false;
    c.expert_count = 4;
    c.experts_per_token = 2;
    c.expert_intermediate_size = 13;
  }
  if (architecture != "LlamaForCausalLM" && architecture != "MixtralForCausalLM") c.windows = {9};
  if (by_length) {
    RopeConfig& rope = c.ropes[0];
    rope.scaling = kind == "dynamic" ? RopeScaling::kDynamic : RopeScaling::kLongRope;
    rope.original_positions = kTokens / 2;
    rope.factor = 3;
    rope.short_factors = {1, 1, 1};
    rope.long_factors = {1, 2, 3};
  }
  if (architecture == "Gemma2ForCausalLM") {
    c.attention_soft_cap = 2;
    c.norm_plus_one = true;
  }
  return c;
}

std::unique_ptr<Block> random_block(const ModelConfig& config, Compute compute) {
  std::mt19937 random(3);
  std::vector<Tensor> others;
  std::vector<std::pair<std::string, Tensor>> linear;
  for (const TensorSpec& spec : architecture_of(config).block_tensors(config, 0)) {
    Tensor t = samples::random_tensor(spec, random);
    if (spec.role == TensorRole::kLinear) {
      linear.emplace_back(spec.name, std::move(t));
    } else {
      others.push_back(std::move(t));
    }
  }
  auto block = architecture_of(config).make_block(config, 0, compute, std::move(others));
  EXPECT_TRUE(block.ok()) << block.status();
  for (const auto& [name, weight] : linear) EXPECT_TRUE((*block)->set_weight(name, weight.matrix<float>()).ok());
  return *std::move(block);
}

// All sites of the block, with memory of its own.
Status walk(const ModelConfig& config, const Block& block, Compute compute, SequenceView view,
            Block::Scratch& scratch) {
  Routing routing;
  view.routing = &routing;
  const std::vector<SiteSpec> sites = architecture_of(config).sites(config, 0);
  std::vector<ops::OperandBuffer> inputs;
  for (const SiteSpec& site : sites) inputs.emplace_back(compute, view.hidden.rows * site.rows_per_token, site.width);
  GQ_RETURN_IF_ERROR(block.begin(view, inputs[0].view(), scratch));
  for (size_t s = 0; s < sites.size(); ++s) {
    const ops::Operand next = s + 1 < sites.size() ? inputs[s + 1].view() : ops::Operand{};
    GQ_RETURN_IF_ERROR(block.advance(static_cast<int>(s), view, inputs[s].view(), next, scratch));
  }
  return absl::OkStatus();
}

double relative_error(Matrix<const float> a, Matrix<const float> b) {
  double error = 0, energy = 0;
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) {
      error += std::pow(static_cast<double>(a.row(r)[c]) - b.row(r)[c], 2);
      energy += std::pow(static_cast<double>(b.row(r)[c]), 2);
    }
  }
  return std::sqrt(error / energy);
}

class Decode : public testing::TestWithParam<std::string> {};

TEST_P(Decode, EqualsTheFullForward) {
  const ModelConfig config = config_of(GetParam());
  for (const Compute compute : {Compute::kF32, Compute::kBF16}) {
    const std::unique_ptr<Block> block = random_block(config, compute);
    std::mt19937 random(11);
    const TensorSpec hidden{"hidden", {kSequences * kTokens, config.hidden_size}, TensorRole::kLinear, ""};
    const Tensor input = samples::random_tensor(hidden, random);
    Tensor whole(tensor::DType::kF32, input.shape());
    std::copy(input.raw().begin(), input.raw().end(), whole.raw().begin());
    const auto scratch = block->make_scratch(kTokens);
    for (int64_t s = 0; s < kSequences; ++s) {
      const SequenceView view{whole.matrix<float>().row_range(s * kTokens, kTokens)};
      ASSERT_EQ(walk(config, *block, compute, view, *scratch), absl::OkStatus());
    }
    Tensor stepped(tensor::DType::kF32, input.shape());
    ops::KvCache cache(kSequences, config.kv_head_count, config.head_dim, kTokens);
    const auto step_scratch = block->make_scratch(kSequences);
    Tensor rows(tensor::DType::kF32, {kSequences, config.hidden_size});
    const auto row_of = [&](auto& all, int64_t s, int64_t t) {
      return all.template matrix<float>().row(s * kTokens + t);
    };
    for (int64_t t = 0; t < kTokens; ++t) {
      EXPECT_EQ(cache.length(), t);
      for (int64_t s = 0; s < kSequences; ++s) {
        std::copy_n(row_of(input, s, t), config.hidden_size, rows.matrix<float>().row(s));
      }
      SequenceView view{rows.matrix<float>()};
      view.cache = &cache;
      ASSERT_EQ(walk(config, *block, compute, view, *step_scratch), absl::OkStatus());
      for (int64_t s = 0; s < kSequences; ++s) {
        std::copy_n(rows.matrix<float>().row(s), config.hidden_size, row_of(stepped, s, t));
      }
    }
    const double error = relative_error(stepped.matrix<float>(), whole.matrix<float>());
    EXPECT_LT(error, compute == Compute::kF32 ? 1e-6 : 1e-2);
    SequenceView full{rows.matrix<float>()};
    full.cache = &cache;
    EXPECT_TRUE(absl::IsFailedPrecondition(walk(config, *block, compute, full, *step_scratch)));
  }
}

INSTANTIATE_TEST_SUITE_P(Model, Decode,
                         testing::Values("LlamaForCausalLM", "MixtralForCausalLM", "MistralForCausalLM",
                                         "Qwen3ForCausalLM", "Gemma2ForCausalLM", "Phi3ForCausalLM", "dynamic",
                                         "longrope"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace gridquant::model
