// All stages on a tiny mixture of experts: statistics and Hessians per expert, counts, experts that see too few tokens,
// and that threads, prefetching and interruption do not show in the result.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "absl/strings/str_cat.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/gptq.h"
#include "stages/block_quantizer.h"
#include "stages/model_source.h"
#include "stages/plan_file.h"
#include "stages/site_statistics.h"
#include "stages/token_store.h"
#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::TinyOptions;
using testing::World;

constexpr int64_t kTokens = 640;  // of World's calibration

TinyOptions mixture(int64_t experts, int64_t per_token) {
  TinyOptions options;
  options.blocks = 2;
  options.intermediate = 64;
  options.experts = experts;
  options.experts_per_token = per_token;
  return options;
}

// One expert to a token, and a router that almost never chooses the last of eight: its logit is always 0.
World starved_world() {
  const TinyOptions options = mixture(8, 1);
  std::vector<formats::NamedTensor> tensors = testing::tiny_tensors(options);
  for (formats::NamedTensor& named : tensors) {
    if (!named.name.ends_with("block_sparse_moe.gate.weight")) continue;
    for (int64_t c = 0; c < options.hidden; ++c) named.tensor.matrix<tensor::BF16>().row(7)[c] = tensor::to_bf16(0);
  }
  return World(options, tensors);
}

int64_t sum_of(const json& counts) {
  const auto values = counts.get<std::vector<int64_t>>();
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

TEST(Mixture, AllFiveStages) {
  World world(mixture(4, 2));
  ASSERT_EQ(world.run_until("validate"), absl::OkStatus());
  EXPECT_EQ(world.summaries["plan"].at("quantized_tensors"), 2 * (4 + 4 * 3));
  const json& quantize = world.summaries["quantize"];
  EXPECT_EQ(quantize.at("layers").size(), 2u * 16u);
  ASSERT_EQ(quantize.at("experts").size(), 2u);
  EXPECT_EQ(quantize.at("experts")[1].at("block"), 1);
  EXPECT_EQ(sum_of(quantize.at("experts")[1].at("tokens")), 2 * kTokens);
  EXPECT_EQ(world.summaries["plan"].at("forecast_bytes"), quantize.at("bytes"));
  const json& english = world.summaries["validate"].at("languages").at("en");
  EXPECT_GT(english.at("kl_mean").get<double>(), 0);
  EXPECT_LT(english.at("kl_mean").get<double>(), 0.5);
  const auto plan = read_plan(*world.env, "/a/plan");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->find("model.layers.0.block_sparse_moe.gate.weight")->reason, "router");
}

TEST(Mixture, TheResultHoldsEveryExpertAndTheRouterAsItWas) {
  World world(mixture(4, 2));
  ASSERT_EQ(world.run_until("quantize"), absl::OkStatus());
  const auto source = open_model(*world.env, "/model");
  ASSERT_TRUE(source.ok());
  const auto result = formats::Checkpoint::open(*world.env, "/a/quantize/checkpoint");
  ASSERT_TRUE(result.ok()) << result.status();
  for (const char* module : {"experts.0.w1", "experts.3.w2", "experts.2.w3"}) {
    for (const char* part : {".qweight", ".qzeros", ".scales", ".g_idx"}) {
      EXPECT_TRUE(result->contains(absl::StrCat("model.layers.1.block_sparse_moe.", module, part))) << module << part;
    }
    EXPECT_FALSE(result->contains(absl::StrCat("model.layers.1.block_sparse_moe.", module, ".weight")));
  }
  const std::string router = "model.layers.1.block_sparse_moe.gate.weight";
  const auto before = source->tensors->read(router);
  const auto after = result->read(router);
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_EQ(after->dtype(), tensor::DType::kBF16);
  EXPECT_TRUE(std::ranges::equal(before->raw(), after->raw()));
  // Loaders that quantize whatever is not named otherwise (vLLM) leave the router alone by this.
  const auto config = world.files("/a/quantize/checkpoint").at("config.json");
  EXPECT_THAT(config, HasSubstr("-:^model\\\\.layers\\\\.1\\\\.block_sparse_moe\\\\.gate$"));
}

void expect_equal_files(std::map<std::string, std::string> a, std::map<std::string, std::string> b,
                        const std::string& what) {
  a.erase("artifact.json");
  b.erase("artifact.json");
  ASSERT_GT(a.size(), 2u) << what;
  ASSERT_EQ(a.size(), b.size()) << what;
  for (const auto& [name, content] : a) EXPECT_TRUE(content == b[name]) << name << " differs, " << what;
}

TEST(Mixture, ThreadsAndPrefetchDoNotShow) {
  for (const char* compute : {"fp32", "bf16"}) {
    World world = starved_world();
    ASSERT_EQ(world.run_until("plan", {{"calibrate", {{"compute", compute}}}}), absl::OkStatus());
    const json with = {{"compute", compute}};
    ASSERT_EQ(world.run({.uses = "quantize", .with = with, .artifact = "/q1", .threads = 1}), absl::OkStatus());
    const auto one = world.files("/q1");
    for (const int threads : {2, 4}) {
      const std::string folder = absl::StrCat("/q", threads);
      ASSERT_EQ(world.run({.uses = "quantize", .with = with, .artifact = folder, .threads = threads}),
                absl::OkStatus());
      expect_equal_files(one, world.files(folder), folder);
      const std::string calibrate = absl::StrCat("/c", threads);
      ASSERT_EQ(world.run({.uses = "calibrate", .with = with, .artifact = calibrate, .threads = threads}),
                absl::OkStatus());
      expect_equal_files(world.files("/a/calibrate"), world.files(calibrate), calibrate);
    }
    const json off = {{"compute", compute}, {"prefetch", false}};
    ASSERT_EQ(world.run({.uses = "quantize", .with = off, .artifact = "/off"}), absl::OkStatus());
    expect_equal_files(one, world.files("/off"), "without prefetching");
  }
}

TEST(Mixture, ContinuesAfterAnyBlock) {
  World world = starved_world();
  ASSERT_EQ(world.run_until("plan"), absl::OkStatus());
  ASSERT_EQ(world.run({.uses = "quantize", .artifact = "/whole"}), absl::OkStatus());
  const json whole = world.summaries["quantize"];
  world.sink.on_progress = [&](int64_t, int64_t) { world.cancelled = true; };
  EXPECT_TRUE(absl::IsCancelled(world.run({.uses = "quantize", .artifact = "/stopped"})));
  world.sink.on_progress = nullptr;
  world.cancelled = false;
  ASSERT_EQ(world.run({.uses = "quantize", .artifact = "/stopped"}), absl::OkStatus());
  EXPECT_EQ(world.summaries["quantize"].at("resumed_blocks"), 1);
  EXPECT_EQ(world.summaries["quantize"].at("experts"), whole.at("experts"));
  EXPECT_EQ(world.summaries["quantize"].at("fallbacks"), whole.at("fallbacks"));
  expect_equal_files(world.files("/whole"), world.files("/stopped"), "after a stop");
}

TEST(Mixture, CalibrateCountsTokensPerExpertAndLanguage) {
  World world(mixture(4, 2));
  ASSERT_EQ(world.run_until("calibrate"), absl::OkStatus());
  const json& experts = world.summaries["calibrate"].at("experts");
  ASSERT_EQ(experts.size(), 2u);
  for (const json& block : experts) {
    EXPECT_EQ(sum_of(block.at("tokens").at("en")), kTokens);  // half of the tokens, two experts each
    EXPECT_EQ(sum_of(block.at("tokens").at("ko")), kTokens);
  }
  const auto statistics = StatisticsReader::open(*world.env, "/a/calibrate");
  ASSERT_TRUE(statistics.ok()) << statistics.status();
  const auto source = open_model(*world.env, "/model");
  const std::vector<model::SiteSpec> sites = source->architecture->sites(source->config, 0);
  // Every token counts twice in the pool of the experts' inputs, so that its mean is that of the tokens.
  for (const size_t site : {2, 3}) {
    const std::vector<model::SitePart> parts = model::parts_of(sites[site]);
    double pooled = 0, tokens = 0;
    for (const model::SitePart& part : parts) {
      const auto diagonal = statistics->diagonal(0, {&part, 1});
      const auto count = statistics->tokens(0, part);
      ASSERT_TRUE(diagonal.ok() && count.ok());
      pooled += (*diagonal)[5] * static_cast<double>(*count);
      tokens += static_cast<double>(*count);
    }
    EXPECT_EQ(tokens, 2 * kTokens);
    const auto all = statistics->diagonal(0, parts);
    ASSERT_TRUE(all.ok()) << all.status();
    EXPECT_NEAR((*all)[5], pooled / tokens, 1e-6 * pooled / tokens);
  }
}

// The input of a site in all sequences, by a walk through the block with its own weights.
struct Seen {
  std::vector<double> square;
  std::vector<int64_t> tokens;  // of each expert
};

Seen walk_block_0(World& world, int site) {
  const auto source = open_model(*world.env, "/model");
  const auto tokens = read_tokens(*world.env, "/a/calibrate");
  device::ThreadPool pool(1);
  ActivationBudget budget(*world.env, "/a", 1 << 20);
  HiddenStates hidden =
      *HiddenStates::make(budget, "hidden", tokens->count(), tokens->length, source->config.hidden_size);
  EXPECT_EQ(embed_tokens(*source, *tokens, pool, hidden), absl::OkStatus());
  auto loaded = load_block(*source, 0, {});
  auto block = make_complete_block(*source, ops::Compute::kF32, *std::move(loaded), pool);
  BlockWalker walker(*source, ops::Compute::kF32, tokens->length, pool);
  walker.prepare(**block, 0);
  Seen seen;
  const auto observe = [&](int at, const model::SequenceView& sequence, const ops::Operand& x) {
    if (at != site) return absl::OkStatus();
    seen.square.resize(static_cast<size_t>(x.cols));
    seen.tokens.resize(static_cast<size_t>(sequence.routing->experts()));
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t c = 0; c < x.cols; ++c) seen.square[c] += std::pow(double{x.f32().row(r)[c]}, 2);
    }
    for (size_t e = 0; e < seen.tokens.size(); ++e) seen.tokens[e] += sequence.routing->count(static_cast<int64_t>(e));
    return absl::OkStatus();
  };
  for (int64_t i = 0; i < hidden.count(); ++i) {
    EXPECT_EQ(walker.walk(**block, hidden, i, 0, observe), absl::OkStatus());
  }
  return seen;
}

TEST(Mixture, AnExpertWithTooFewTokensIsRoundedWithTheStatisticsOfAll) {
  World world = starved_world();
  // Attention stays as it is, so that the experts of block 0 see what the original model's see.
  ASSERT_EQ(world.run_until("quantize", {{"plan", {{"exclude", {"self_attn"}}}}}), absl::OkStatus());
  const Seen seen = walk_block_0(world, 2);
  ASSERT_EQ(seen.tokens.size(), 8u);
  ASSERT_LT(seen.tokens[7], min_tokens(64));
  const json& summary = world.summaries["quantize"];
  EXPECT_EQ(summary.at("experts")[0].at("tokens").get<std::vector<int64_t>>(), seen.tokens);
  std::set<std::string> fallen;
  for (const json& fallback : summary.at("fallbacks")) {
    if (fallback.contains("expert")) fallen.insert(fallback.at("tensor").get<std::string>());
  }
  for (int64_t e = 0; e < 8; ++e) {
    for (const char* layer : {"w1", "w2", "w3"}) {
      const std::string name = absl::StrCat("model.layers.0.block_sparse_moe.experts.", e, ".", layer, ".weight");
      EXPECT_EQ(fallen.contains(name), seen.tokens[e] < min_tokens(64)) << name << ": " << seen.tokens[e];
    }
  }
  EXPECT_THAT(world.sink.warnings, ::testing::Contains(HasSubstr("experts that saw too few tokens")));

  const auto source = open_model(*world.env, "/model");
  const std::string name = "model.layers.0.block_sparse_moe.experts.7.w1";
  const auto w = source->tensors->read_f32(name + ".weight", {64, 64});
  const auto plan = read_plan(*world.env, "/a/plan");
  device::ThreadPool pool(1);
  const std::vector<float> diagonal(seen.square.begin(), seen.square.end());
  const auto expected = quant::solve_rtn(w->matrix<float>(), diagonal, plan->options, pool);
  ASSERT_TRUE(expected.ok());
  tensor::Tensor values(tensor::DType::kF32, {64, 64});
  expected->weight.dequantize(values.matrix<float>());
  const auto result = formats::Checkpoint::open(*world.env, "/a/quantize/checkpoint");
  const auto stored = formats::dequantize_gptq(*result, name, 4);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_THAT(stored->as<float>(), ::testing::ElementsAreArray(values.as<float>()));
}

TEST(Mixture, RtnUsesTheStatisticsOfAnExpertOrOfAll) {
  World world = starved_world();
  ASSERT_EQ(world.run_until("validate", {{"plan", {{"solver", "rtn"}}}}), absl::OkStatus());
  const json& experts = world.summaries["quantize"].at("experts");
  ASSERT_EQ(experts.size(), 2u);
  EXPECT_EQ(sum_of(experts[0].at("tokens")), kTokens);
  World blind = starved_world();
  ASSERT_EQ(blind.run_until("quantize", {{"calibrate", {{"statistics", "none"}}}, {"plan", {{"solver", "rtn"}}}}),
            absl::OkStatus());
  EXPECT_FALSE(blind.summaries["quantize"].contains("experts"));
}

TEST(Mixture, ExcludedExpertsAreLeftAsTheyAre) {
  World world(mixture(4, 2));
  ASSERT_EQ(world.run_until("quantize", {{"plan", {{"exclude", {"experts\\.2\\."}}}}}), absl::OkStatus());
  EXPECT_THAT(world.sink.warnings, ::testing::Contains(HasSubstr("all of them quantized or none")));
  const auto result = formats::Checkpoint::open(*world.env, "/a/quantize/checkpoint");
  EXPECT_TRUE(result->contains("model.layers.0.block_sparse_moe.experts.2.w1.weight"));
  EXPECT_TRUE(result->contains("model.layers.0.block_sparse_moe.experts.1.w1.qweight"));
}

TEST(Mixture, ARouterThatDoesNotFitIsRefused) {
  const TinyOptions options = mixture(4, 2);
  std::vector<formats::NamedTensor> tensors = testing::tiny_tensors(options);
  std::erase_if(tensors,
                [](const formats::NamedTensor& t) { return t.name.ends_with("0.block_sparse_moe.gate.weight"); });
  World without(options, tensors);
  const Status missing = without.run({.uses = "analyze"});
  EXPECT_TRUE(absl::IsFailedPrecondition(missing));
  EXPECT_THAT(std::string(missing.message()),
              HasSubstr("model.layers.0.block_sparse_moe.gate.weight [4, 64] is missing"));
  TinyOptions many = options;
  many.experts_per_token = 5;
  World greedy(many);
  const Status status = greedy.run({.uses = "analyze"});
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"num_experts_per_tok\" is 5, more than the 4"));
}

}  // namespace
}  // namespace gridquant::stages
