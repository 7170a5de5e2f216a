// The Llama tables, and one block against a plain fp64 forward pass: grouped-query attention, biases, odd sizes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "engine/model/architecture.h"
#include "tests/unit/model/small_model.h"

namespace gridquant::model {
namespace {

using ops::Compute;

ModelConfig small_config(bool biases) {
  ModelConfig c = samples::small_model("LlamaForCausalLM", 2);
  c.attention_bias = biases;
  c.mlp_bias = biases;
  return c;
}

// The block's tensors by the part of their name after "model.layers.N.".
using Weights = std::map<std::string, tensor::Tensor>;

std::string short_name(const std::string& name) {
  return name.substr(std::string("model.layers.1.").size());
}

Weights random_weights(const ModelConfig& config) {
  Weights weights;
  std::mt19937 random(9);
  for (const TensorSpec& spec : architecture_of(config).block_tensors(config, 1)) {
    weights.emplace(short_name(spec.name), samples::random_tensor(spec, random));
  }
  return weights;
}

// Rows of fp64, and the plain arithmetic on them.
using Rows = std::vector<std::vector<double>>;

struct Reference {
  const ModelConfig& c;
  const Weights& w;

  Rows norm(const Rows& x, const std::string& name) const {
    Rows y = x;
    for (auto& row : y) {
      double squares = 0;
      for (const double v : row) squares += v * v;
      const double scale = 1 / std::sqrt(squares / static_cast<double>(row.size()) + c.rms_norm_eps);
      for (size_t i = 0; i < row.size(); ++i) row[i] *= scale * w.at(name).as<float>()[i];
    }
    return y;
  }

  Rows linear(const Rows& x, const std::string& layer) const {
    const tensor::Tensor& weight = w.at(layer + ".weight");
    const auto bias = w.find(layer + ".bias");
    Rows y;
    for (const auto& row : x) {
      y.emplace_back();
      for (int64_t o = 0; o < weight.rows(); ++o) {
        double sum = bias == w.end() ? 0.0 : bias->second.as<float>()[static_cast<size_t>(o)];
        for (size_t i = 0; i < row.size(); ++i) sum += row[i] * weight.matrix<float>().row(o)[i];
        y.back().push_back(sum);
      }
    }
    return y;
  }

  void rotate(Rows& x) const {
    const auto half = static_cast<size_t>(c.head_dim / 2);
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t h = 0; h < x[t].size(); h += 2 * half) {
        for (size_t i = 0; i < half; ++i) {
          const double angle = static_cast<double>(t) * std::pow(c.ropes[0].theta, -static_cast<double>(i) / half);
          const double a = x[t][h + i], b = x[t][h + half + i];
          x[t][h + i] = a * std::cos(angle) - b * std::sin(angle);
          x[t][h + half + i] = b * std::cos(angle) + a * std::sin(angle);
        }
      }
    }
  }

  Rows attend(const Rows& x) const {
    Rows q = linear(x, "self_attn.q_proj"), k = linear(x, "self_attn.k_proj");
    const Rows v = linear(x, "self_attn.v_proj");
    rotate(q);
    rotate(k);
    const auto dim = static_cast<size_t>(c.head_dim);
    const auto group = static_cast<size_t>(c.head_count / c.kv_head_count);
    Rows out(x.size(), std::vector<double>(q[0].size()));
    for (size_t h = 0; h < static_cast<size_t>(c.head_count); ++h) {
      for (size_t t = 0; t < x.size(); ++t) {
        std::vector<double> weights;
        double total = 0;
        for (size_t s = 0; s <= t; ++s) {
          double score = 0;
          for (size_t i = 0; i < dim; ++i) score += q[t][h * dim + i] * k[s][h / group * dim + i];
          weights.push_back(std::exp(score / std::sqrt(static_cast<double>(dim))));
          total += weights.back();
        }
        for (size_t s = 0; s <= t; ++s) {
          for (size_t i = 0; i < dim; ++i) out[t][h * dim + i] += weights[s] / total * v[s][h / group * dim + i];
        }
      }
    }
    return out;
  }

  // The inputs of the four sites, then the block's output.
  std::vector<Rows> run(Rows hidden) const {
    const auto add = [&](const Rows& y) {
      for (size_t t = 0; t < y.size(); ++t) {
        for (size_t i = 0; i < y[t].size(); ++i) hidden[t][i] += y[t][i];
      }
    };
    std::vector<Rows> sites;
    sites.push_back(norm(hidden, "input_layernorm.weight"));
    sites.push_back(attend(sites.back()));
    add(linear(sites.back(), "self_attn.o_proj"));
    sites.push_back(norm(hidden, "post_attention_layernorm.weight"));
    Rows gate = linear(sites.back(), "mlp.gate_proj");
    const Rows up = linear(sites.back(), "mlp.up_proj");
    for (size_t t = 0; t < gate.size(); ++t) {
      for (size_t i = 0; i < gate[t].size(); ++i) gate[t][i] *= up[t][i] / (1 + std::exp(-gate[t][i]));
    }
    sites.push_back(gate);
    add(linear(gate, "mlp.down_proj"));
    sites.push_back(hidden);
    return sites;
  }
};

StatusOr<std::unique_ptr<Block>> make_block(const ModelConfig& config, Compute compute, const Weights& weights) {
  const Architecture& architecture = architecture_of(config);
  std::vector<tensor::Tensor> others;
  for (const TensorSpec& spec : architecture.block_tensors(config, 1)) {
    if (spec.role != TensorRole::kLinear) others.push_back(tensor::to_f32(weights.at(short_name(spec.name))));
  }
  GQ_ASSIGN_OR_RETURN(auto block, architecture.make_block(config, 1, compute, std::move(others)));
  for (const TensorSpec& spec : architecture.block_tensors(config, 1)) {
    if (spec.role != TensorRole::kLinear) continue;
    GQ_RETURN_IF_ERROR(block->set_weight(spec.name, weights.at(short_name(spec.name)).matrix<float>()));
  }
  return block;
}

double value_at(const ops::Operand& x, int64_t r, int64_t c) {
  return x.compute == Compute::kBF16 ? tensor::to_float(x.bf16().row(r)[c]) : x.f32().row(r)[c];
}

void expect_near(const ops::Operand& got, const Rows& want, double limit, const std::string& what) {
  double difference = 0, size = 0;
  for (int64_t t = 0; t < got.rows; ++t) {
    for (int64_t i = 0; i < got.cols; ++i) {
      const double w = want[static_cast<size_t>(t)][static_cast<size_t>(i)];
      difference += std::pow(value_at(got, t, i) - w, 2);
      size += w * w;
    }
  }
  EXPECT_LE(std::sqrt(difference / size), limit) << what;
}

void check_block(bool biases, Compute compute, int64_t tokens) {
  const ModelConfig config = small_config(biases);
  const Weights weights = random_weights(config);
  auto block = make_block(config, compute, weights);
  ASSERT_TRUE(block.ok()) << block.status();
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  tensor::Tensor hidden(tensor::DType::kF32, {tokens, config.hidden_size});
  Rows start(static_cast<size_t>(tokens), std::vector<double>(static_cast<size_t>(config.hidden_size)));
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < config.hidden_size; ++i) {
      const float v = normal(random);
      hidden.matrix<float>().row(t)[i] = v;
      start[static_cast<size_t>(t)][static_cast<size_t>(i)] = v;
    }
  }
  const std::vector<Rows> want = Reference{config, weights}.run(start);
  const double limit = compute == Compute::kBF16 ? 2e-2 : 2e-6;
  const SequenceView sequence{hidden.matrix<float>()};
  const auto sites = architecture_of(config).sites(config, 1);
  const auto scratch = (*block)->make_scratch(tokens + 3);
  ops::OperandBuffer x(compute, tokens, sites[0].width);
  ASSERT_TRUE((*block)->begin(sequence, x.view(), *scratch).ok());
  for (size_t s = 0; s < sites.size(); ++s) {
    expect_near(x.view(), want[s], limit, sites[s].name);
    ops::OperandBuffer next;
    if (s + 1 < sites.size()) next = ops::OperandBuffer(compute, tokens, sites[s + 1].width);
    ASSERT_TRUE((*block)->advance(static_cast<int>(s), sequence, x.view(), next.view(), *scratch).ok());
    x = std::move(next);
  }
  const tensor::Matrix<float> out = sequence.hidden;
  expect_near({Compute::kF32, reinterpret_cast<std::byte*>(out.data), out.rows, out.cols, out.stride}, want.back(),
              limit, "output");
}

TEST(LlamaBlock, MatchesPlainArithmetic) {
  for (const Compute compute : {Compute::kF32, Compute::kBF16}) {
    for (const bool biases : {false, true}) {
      for (const int64_t tokens : {1, 13, 131}) check_block(biases, compute, tokens);
    }
  }
}

TEST(LlamaBlock, RefusesWhatDoesNotFit) {
  const ModelConfig config = small_config(false);
  const Weights weights = random_weights(config);
  auto block = make_block(config, Compute::kF32, weights);
  ASSERT_TRUE(block.ok());
  const tensor::Tensor wrong(tensor::DType::kF32, {3, 3});
  const Status shape = (*block)->set_weight("model.layers.1.mlp.up_proj.weight", wrong.matrix<float>());
  EXPECT_EQ(shape.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(shape.message()), testing::HasSubstr("mlp.up_proj.weight"));
  EXPECT_EQ((*block)->set_weight("model.layers.1.other", wrong.matrix<float>()).code(), absl::StatusCode::kNotFound);

  tensor::Tensor hidden(tensor::DType::kF32, {9, config.hidden_size});
  const SequenceView sequence{hidden.matrix<float>()};
  const ops::OperandBuffer x(Compute::kF32, 9, config.hidden_size), next(Compute::kF32, 9, 24);
  const auto small = (*block)->make_scratch(8), enough = (*block)->make_scratch(9);
  EXPECT_FALSE((*block)->advance(0, sequence, x.view(), next.view(), *small).ok());
  EXPECT_FALSE((*block)->advance(4, sequence, x.view(), next.view(), *enough).ok());
  (*block)->drop_weight("model.layers.1.self_attn.k_proj.weight");
  EXPECT_EQ((*block)->advance(0, sequence, x.view(), next.view(), *enough).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(architecture_of(config).make_block(config, 1, Compute::kF32, {}).ok());
}

TEST(LlamaArchitecture, Tables) {
  ModelConfig config = small_config(true);
  const Architecture& architecture = architecture_of(config);
  EXPECT_EQ(architecture.name(), "LlamaForCausalLM");
  EXPECT_THAT(known_architectures(), testing::Contains("LlamaForCausalLM"));
  EXPECT_EQ(architecture.outer_tensors(config).back().name, "lm_head.weight");
  config.tied_embeddings = true;
  EXPECT_EQ(architecture.outer_tensors(config).size(), 2u);
  const auto sites = architecture.sites(config, 1);
  ASSERT_EQ(sites.size(), 4u);
  EXPECT_EQ(sites[0].name, "attention_input");
  EXPECT_THAT(sites[0].weights,
              testing::ElementsAre("model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.weight",
                                   "model.layers.1.self_attn.v_proj.weight"));
  EXPECT_EQ(sites[1].width, 24);
  EXPECT_THAT(sites[3].weights, testing::ElementsAre("model.layers.1.mlp.down_proj.weight"));
  EXPECT_EQ(architecture.block_tensors(config, 1).size(), 16u);
  config.attention_bias = config.mlp_bias = false;
  EXPECT_EQ(architecture.block_tensors(config, 1).size(), 9u);
}

TEST(LlamaArchitecture, EmbedsEveryFloatType) {
  const ModelConfig config = small_config(false);
  const Architecture& architecture = architecture_of(config);
  tensor::Tensor f32(tensor::DType::kF32, {config.vocab_size, config.hidden_size});
  tensor::Tensor f16(tensor::DType::kF16, f32.shape()), bf16(tensor::DType::kBF16, f32.shape());
  for (size_t i = 0; i < f32.as<float>().size(); ++i) {
    f32.as<float>()[i] = static_cast<float>(i % 200);
    f16.as<tensor::F16>()[i] = tensor::to_f16(f32.as<float>()[i]);
    bf16.as<tensor::BF16>()[i] = tensor::to_bf16(f32.as<float>()[i]);
  }
  tensor::Tensor hidden(tensor::DType::kF32, {2, config.hidden_size});
  for (const tensor::Tensor* embedding : {&f32, &f16, &bf16}) {
    const std::vector<int32_t> ids = {49, 0};
    ASSERT_TRUE(architecture.embed(config, *embedding, ids, hidden.matrix<float>()).ok());
    EXPECT_EQ(hidden.as<float>()[0], static_cast<float>(49 * 20 % 200));
    EXPECT_EQ(hidden.as<float>()[21], 1.0f);
  }
  for (const int32_t bad : {50, -1}) {
    const std::vector<int32_t> ids = {0, bad};
    const Status status = architecture.embed(config, f32, ids, hidden.matrix<float>());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(std::to_string(bad)));
  }
}

}  // namespace
}  // namespace gridquant::model
