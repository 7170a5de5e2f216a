// The parts of the stages, one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"
#include "stages/block_quantizer.h"
#include "stages/disjoint.h"
#include "stages/hessian_error.h"
#include "stages/inputs.h"
#include "stages/memory_forecast.h"
#include "stages/name_match.h"
#include "stages/parallel.h"
#include "stages/parameters.h"
#include "stages/phase_times.h"
#include "stages/prefetch.h"
#include "stages/site_statistics.h"
#include "stages/task.h"
#include "stages/weight_statistics.h"
#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(TaskFile, RoundTrip) {
  const auto env = base::make_memory_env();
  Task task;
  task.run = "r";
  task.stage = "quantize-gptq";
  task.uses = "quantize";
  task.attempt = 3;
  task.key = "abc";
  task.with = {{"output", "gptq"}};
  task.inputs = {{"plan", "/store/p"}};
  task.artifact = "/store/q";
  task.threads = 7;
  ASSERT_EQ(write_task(*env, "/task.json", task), absl::OkStatus());
  const auto read = read_task(*env, "/task.json");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->stage, task.stage);
  EXPECT_EQ(read->attempt, 3);
  EXPECT_EQ(read->with, task.with);
  EXPECT_EQ(read->inputs, task.inputs);
  EXPECT_EQ(read->threads, 7);
}

TEST(TaskFile, RefusesWhatIsNone) {
  const auto env = base::make_memory_env();
  const auto error = [&](const std::string& text) {
    EXPECT_EQ(base::write_file_atomically(*env, "/t", text), absl::OkStatus());
    return read_task(*env, "/t").status();
  };
  EXPECT_TRUE(absl::IsInvalidArgument(error("not json")));
  EXPECT_TRUE(absl::IsInvalidArgument(error("[1]")));
  EXPECT_TRUE(absl::IsFailedPrecondition(error("{\"format\": 99}")));
  EXPECT_THAT(std::string(error("{\"format\": 1, \"run\": 5}").message()), HasSubstr("run"));
  EXPECT_TRUE(absl::IsNotFound(read_task(*env, "/absent").status()));
}

TEST(Artifact, RefusesPathsThatLeaveTheFolder) {
  const auto env = base::make_memory_env();
  ASSERT_EQ(env->make_folders("/a"), absl::OkStatus());
  for (const char* path : {"/etc/passwd", "../other", ""}) {
    const json file = {
        {"format", 1}, {"uses", "plan"}, {"key", ""}, {"files", {{{"path", path}, {"bytes", 1u}, {"sha256", "x"}}}}};
    ASSERT_EQ(base::write_file_atomically(*env, "/a/artifact.json", file.dump()), absl::OkStatus());
    EXPECT_TRUE(absl::IsInvalidArgument(read_artifact(*env, "/a").status())) << path;
  }
}

TEST(Parameters, DefaultsAreFilledIn) {
  const auto with = complete_parameters(*find_stage("plan"), json::object());
  ASSERT_TRUE(with.ok()) << with.status();
  EXPECT_EQ(with->at("bits"), 4);
  EXPECT_EQ(with->at("groupSize"), 128);
  EXPECT_EQ(with->at("exclude"), json::array());
  const auto missing = complete_parameters(*find_stage("analyze"), json::object());
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("with.model is missing"));
}

TEST(Parameters, ElementsOfListsAreChecked) {
  const json with = {{"datasets", {{{"path", "a.txt"}}, {{"path", 5}, {"language", "en"}, {"size", 1}}}}};
  const auto checked = complete_parameters(*find_stage("calibrate"), with);
  EXPECT_THAT(std::string(checked.status().message()),
              AllOf(HasSubstr("datasets[0].language is missing"), HasSubstr("datasets[1].path must be a path"),
                    HasSubstr("datasets[1].size is not a parameter")));
  EXPECT_FALSE(complete_parameters(*find_stage("calibrate"), {{"datasets", json::array()}}).ok());
}

TEST(NameMatch, FindsAnywhereAndStopsInTime) {
  const auto matcher = NameMatcher::compile({"^model\\.layers\\.0\\.", "down_proj", "(a+)+$"});
  ASSERT_TRUE(matcher.ok()) << matcher.status();
  EXPECT_EQ(matcher->match("model.layers.0.x"), std::optional<size_t>(0));
  EXPECT_EQ(matcher->match("model.layers.10.mlp.down_proj.weight"), std::optional<size_t>(1));
  EXPECT_EQ(matcher->match("lm_head"), std::nullopt);
  EXPECT_EQ(matcher->match(std::string(60, 'a') + "!"), std::nullopt);  // would backtrack for ever
  EXPECT_TRUE(absl::IsInvalidArgument(NameMatcher::compile({"ok", "("}).status()));
}

TEST(WeightStatistics, EqualPlainSums) {
  std::mt19937 generator(3);
  std::normal_distribution<float> normal(0.25f, 2.0f);
  tensor::Tensor t(tensor::DType::kF32, {37, 301});
  for (float& x : t.as<float>()) x = normal(generator);
  t.as<float>()[100] = 40;
  const auto s = weight_statistics("w", t);
  ASSERT_TRUE(s.ok()) << s.status();
  double sum = 0, m2 = 0, m4 = 0;
  for (const float x : t.as<float>()) sum += x;
  const double mean = sum / t.count();
  for (const float x : t.as<float>()) {
    m2 += (x - mean) * (x - mean);
    m4 += std::pow(x - mean, 4);
  }
  const double variance = m2 / t.count();
  EXPECT_NEAR(s->mean, mean, 1e-12);
  EXPECT_NEAR(s->stddev, std::sqrt(variance), 1e-12);
  EXPECT_NEAR(s->kurtosis, m4 / t.count() / variance / variance, 1e-9);
  EXPECT_EQ(s->max, 40);
  EXPECT_EQ(s->absmax, 40);
  EXPECT_DOUBLE_EQ(s->outlier_share, 1.0 / t.count());
}

TEST(WeightStatistics, NamesTheFirstBadElement) {
  tensor::Tensor t(tensor::DType::kF16, {100, 70});
  for (tensor::F16& x : t.as<tensor::F16>()) x = tensor::to_f16(1);
  t.as<tensor::F16>()[81 * 70 + 5] = tensor::to_f16(-std::numeric_limits<float>::infinity());
  t.as<tensor::F16>()[90 * 70] = tensor::to_f16(std::numeric_limits<float>::quiet_NaN());
  const auto s = weight_statistics("model.x", t);
  EXPECT_TRUE(absl::IsFailedPrecondition(s.status()));
  EXPECT_THAT(std::string(s.status().message()), AllOf(HasSubstr("model.x"), HasSubstr("[81, 5]"), HasSubstr("inf")));
}

TEST(ColumnSums, EqualPlainSumsInBothTypes) {
  std::mt19937 generator(5);
  std::normal_distribution<float> normal;
  ops::OperandBuffer f32(ops::Compute::kF32, 53, 19), bf16(ops::Compute::kBF16, 53, 19);
  for (int64_t i = 0; i < 53 * 19; ++i) {
    bf16.view().bf16().data[i] = tensor::to_bf16(normal(generator));
    f32.view().f32().data[i] = tensor::to_float(bf16.view().bf16().data[i]);
  }
  ColumnSums a(19), b(19);
  a.add(f32.view());
  b.add(bf16.view());
  EXPECT_EQ(a.square, b.square);
  EXPECT_EQ(a.abs, b.abs);
  EXPECT_EQ(a.max, b.max);
  for (int64_t c = 0; c < 19; ++c) {
    double square = 0, abs = 0;
    for (int64_t r = 0; r < 53; ++r) {
      const double x = f32.view().f32().row(r)[c];
      square += x * x;
      abs += std::fabs(x);
    }
    EXPECT_NEAR(a.square[c], square, 1e-5 * square);
    EXPECT_NEAR(a.abs[c], abs, 1e-5 * abs);
  }
  a.merge(b);
  EXPECT_EQ(a.tokens, 106);
  EXPECT_DOUBLE_EQ(a.square[3], 2 * b.square[3]);
}

TokenSet token_set(std::vector<int32_t> ids, int64_t length, const std::string& sha256) {
  TokenSet tokens;
  tokens.length = length;
  tokens.ids = std::move(ids);
  tokens.language_of.assign(tokens.ids.size() / length, 0);
  tokens.languages = {"en"};
  tokens.texts = json::array({{{"path", sha256 + ".txt"}, {"sha256", sha256}}});
  return tokens;
}

TEST(Disjoint, FindsShiftedPassages) {
  std::mt19937 generator(11);
  std::vector<int32_t> calibration(4 * 256), evaluation(4 * 256);
  for (int32_t& id : calibration) id = static_cast<int32_t>(generator() % 500);
  for (int32_t& id : evaluation) id = static_cast<int32_t>(generator() % 500);
  const TokenSet seen = token_set(calibration, 256, "a");
  EXPECT_EQ(overlap_share(seen, token_set(evaluation, 256, "b")), 0);
  EXPECT_EQ(check_disjoint(seen, token_set(evaluation, 256, "b")), absl::OkStatus());
  // A passage of 128 tokens from calibration token 64 on, at an odd place: all of its four runs are found.
  std::copy_n(calibration.begin() + 64, 128, evaluation.begin() + 256 + 77);
  const TokenSet quoting = token_set(evaluation, 256, "b");
  EXPECT_DOUBLE_EQ(overlap_share(seen, quoting), 128.0 / 1024);
  EXPECT_TRUE(absl::IsFailedPrecondition(check_disjoint(seen, quoting)));
  EXPECT_THAT(std::string(check_disjoint(seen, token_set({1, 2}, 2, "a")).message()), HasSubstr("same content"));
}

TEST(RowGroups, CoverAllSequencesOnce) {
  for (const int64_t sequences : {1, 2, 7, 8, 9, 32, 129}) {
    const std::vector<ops::RowGroup> groups = row_groups(sequences, 64);
    EXPECT_LE(groups.size(), 8u);
    int64_t next = 0;
    for (const ops::RowGroup& group : groups) {
      EXPECT_EQ(group.begin, next);
      EXPECT_GT(group.count, 0);
      EXPECT_EQ(group.count % 64, 0);
      next += group.count;
    }
    EXPECT_EQ(next, sequences * 64);
  }
}

TEST(HessianError, EqualsPlainProduct) {
  constexpr int64_t kRows = 64, kCols = 64;
  std::mt19937 generator(2);
  std::uniform_int_distribution<int> small(-3, 3);
  tensor::Tensor w(tensor::DType::kF32, {kRows, kCols}), h(tensor::DType::kF32, {kCols, kCols});
  for (float& x : w.as<float>()) x = static_cast<float>(small(generator));
  for (int64_t r = 0; r < kCols; ++r) {
    for (int64_t c = 0; c <= r; ++c) {
      h.as<float>()[r * kCols + c] = h.as<float>()[c * kCols + r] = static_cast<float>(small(generator));
    }
    h.as<float>()[r * kCols + r] = 4 * kCols;
  }
  const std::vector<float> plain(h.as<float>().begin(), h.as<float>().end());
  quant::QuantizedWeight q;
  q.grid = {4, true, 32};
  q.rows = kRows;
  q.cols = kCols;
  q.codes.resize(kRows * kCols);
  for (uint8_t& code : q.codes) code = static_cast<uint8_t>(8 + small(generator));
  q.scales.assign(kRows * 2, tensor::to_f16(0.5f));
  q.zeros.assign(kRows * 2, 8);
  tensor::Tensor dequantized(tensor::DType::kF32, {kRows, kCols});
  q.dequantize(dequantized.matrix<float>());
  const std::vector<int64_t> sample = sample_of_rows(kRows);
  ASSERT_EQ(sample.size(), static_cast<size_t>(kSampleRows));
  double expected = 0;
  for (const int64_t r : sample) {
    for (int64_t i = 0; i < kCols; ++i) {
      for (int64_t j = 0; j < kCols; ++j) {
        const auto error = [&](int64_t c) {
          return static_cast<double>(w.as<float>()[r * kCols + c]) - dequantized.as<float>()[r * kCols + c];
        };
        expected += error(i) * plain[static_cast<size_t>(i * kCols + j)] * error(j);
      }
    }
  }
  device::ThreadPool pool(2);
  const auto factor = quant::factor_site(std::move(h), {}, pool);
  ASSERT_TRUE(factor.ok()) << factor.status();
  // Halves of small integers: exact.
  const tensor::Tensor rows = gather_rows(std::as_const(w).matrix<float>(), sample);
  EXPECT_EQ(sampled_errors(*factor, rows.matrix<float>(), q, sample, pool).own, expected);
}

TEST(Parallel, ReturnsTheFirstErrorInTaskOrder) {
  device::ThreadPool pool(4);
  for (int i = 0; i < 20; ++i) {
    const Status status = parallel(pool, 100, [](int64_t task, int) {
      return task % 10 == 7 ? absl::InternalError(std::to_string(task)) : absl::OkStatus();
    });
    EXPECT_EQ(status.message(), "7");
  }
}

TEST(Parallel, OutOfMemoryIsAStatus) {
  device::ThreadPool pool(2);
  const Status status = parallel(pool, 3, [](int64_t, int) -> Status { throw std::bad_alloc(); });
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

TEST(Prefetch, GivesTheSameItemsAheadOrNot) {
  for (const bool ahead : {true, false}) {
    Prefetcher<int> items(3, 8, ahead, [](int64_t i) -> StatusOr<int> {
      if (i == 7) return absl::DataLossError("seven");
      return static_cast<int>(i * i);
    });
    for (int i = 3; i < 7; ++i) EXPECT_EQ(*items.take(), i * i);
    EXPECT_TRUE(absl::IsDataLoss(items.take().status()));
  }
}

TEST(Prefetch, BackgroundKeepsTheFirstError) {
  Background background;
  EXPECT_EQ(background.start([] { return absl::DataLossError("lost"); }), absl::OkStatus());
  bool ran = false;
  EXPECT_TRUE(absl::IsDataLoss(background.start([&] {
    ran = true;
    return absl::OkStatus();
  })));
  EXPECT_EQ(background.wait(), absl::OkStatus());
  EXPECT_FALSE(ran);
}

TEST(PhaseTimes, LapsAddUp) {
  base::ManualClock clock;
  PhaseTimes times(clock);
  clock.advance_ms(1500);
  times.lap("read");
  clock.advance_ms(250);
  times.lap("solve");
  clock.advance_ms(500);
  times.lap("read");
  EXPECT_EQ(times.seconds(), (json{{"read", 2.0}, {"solve", 0.25}}));
}

TEST(Artifact, ItsFolderIsOnDiskBeforeItIsCommitted) {
  const auto memory = base::make_memory_env();
  std::vector<std::string> done;
  const auto env = base::make_faulty_env(*memory, [&](std::string_view operation, const std::string& path) {
    done.push_back(absl::StrCat(std::string(operation), " ", path));
    return absl::OkStatus();
  });
  ASSERT_TRUE(memory->make_folders("/store/a").ok());
  ASSERT_TRUE(commit_artifact(*env, "/store/a", {"plan", "k", json::object(), {}}).ok());
  ASSERT_GT(done.size(), 3u);
  done.resize(3);
  EXPECT_THAT(done, ::testing::ElementsAre("sync_folder /store", "sync_folder /store/a",
                                           "create /store/a/artifact.json.tmp"));
  ASSERT_EQ(base::write_file_atomically(*memory, "/store/a/artifact.json",
                                        R"({"format": 1, "uses": "plan", "key": "k", "summary": [1]})"),
            absl::OkStatus());
  EXPECT_TRUE(absl::IsInvalidArgument(read_artifact(*memory, "/store/a").status())) << "agents send it on";
}

TEST(RunStage, WhatIsCommittedStaysIfItCannotBeReadJustNow) {
  testing::World world;
  ASSERT_EQ(world.run({.uses = "analyze", .key = "k"}), absl::OkStatus());
  const auto before = world.files("/a/analyze");
  const auto faulty = base::make_faulty_env(*world.env, [](std::string_view operation, const std::string& path) {
    return operation == "read" && path == "/a/analyze/artifact.json" ? absl::UnavailableError("too many open files")
                                                                     : absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsUnavailable(world.run({.uses = "analyze", .env = faulty.get(), .key = "k"})));
  EXPECT_EQ(world.files("/a/analyze"), before);
}

TEST(RunStage, ReusesWhatIsCommittedUnderTheKeyAndMakesDamagedAgain) {
  testing::World world;
  ASSERT_EQ(world.run({.uses = "analyze", .key = "k"}), absl::OkStatus());
  const json summary = world.summaries["analyze"];
  ASSERT_EQ(world.run({.uses = "analyze", .key = "k"}), absl::OkStatus());
  EXPECT_THAT(world.sink.notes, ::testing::Contains(HasSubstr("nothing to do")));
  EXPECT_EQ(world.summaries["analyze"], summary);
  ASSERT_EQ(base::write_file_atomically(*world.env, "/a/analyze/analysis.json", "{}"), absl::OkStatus());
  ASSERT_EQ(world.run({.uses = "analyze", .key = "k"}), absl::OkStatus());
  EXPECT_THAT(world.sink.warnings, ::testing::Contains(HasSubstr("damaged")));
  EXPECT_GT(base::read_file(*world.env, "/a/analyze/analysis.json")->size(), 100u);
}

}  // namespace
}  // namespace gridquant::stages
