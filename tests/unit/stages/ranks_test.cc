// The number of ranks does not show in what a stage leaves: the same bytes for 1, 2, 3, 4 and 8 ranks with any number
// of threads, dense and mixture, GPTQ and rounding; also after a stop, continued by another number of ranks.
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "stages/shard.h"
#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using testing::TinyOptions;
using testing::World;
using Files = std::map<std::string, std::string>;

Files results(World& world, const std::string& folder) {
  Files files = world.files(folder);
  files.erase("artifact.json");  // its summary names ranks, seconds and memory
  return files;
}

void expect_same(const Files& expected, const Files& found, const std::string& what) {
  EXPECT_EQ(found.size(), expected.size()) << what;
  for (const auto& [file, content] : expected) {
    EXPECT_TRUE(found.contains(file) && found.at(file) == content) << what << ": " << file;
  }
}

TinyOptions tiny(int64_t experts) {
  TinyOptions options;
  options.blocks = 2;
  options.experts = experts;
  options.intermediate = experts > 0 ? 64 : 224;  // 224: weights of more than one row tile, and of more than two
  options.hidden = 128;
  return options;
}

struct Case {
  std::string name;
  int64_t experts;
  std::string solver;
  std::string compute;
};

class SameBits : public ::testing::TestWithParam<Case> {};

TEST_P(SameBits, ForAnyNumberOfRanks) {
  World world(tiny(GetParam().experts));
  const json how = {{"compute", GetParam().compute}};
  ASSERT_EQ(world.run_until(
                "validate",
                {{"plan", {{"solver", GetParam().solver}}}, {"calibrate", how}, {"quantize", how}, {"validate", how}}),
            absl::OkStatus());
  for (const char* uses : {"analyze", "calibrate", "plan", "quantize", "validate"}) {
    const Files expected = results(world, std::string("/a/") + uses);
    ASSERT_FALSE(expected.empty());
    const json with = std::string(uses) == "analyze" || std::string(uses) == "plan" ? json::object() : how;
    const json solver = std::string(uses) == "plan" ? json{{"solver", GetParam().solver}} : with;
    for (const int ranks : {2, 3, 4, 8, 11}) {
      // Ranks of one machine share memory in quantize; all else is the same for any number of machines.
      for (const int machines : uses == std::string("quantize") ? std::vector<int>{1, 2} : std::vector<int>{2}) {
        const std::string what =
            std::string(uses) + " on " + std::to_string(ranks) + " ranks, machines: " + std::to_string(machines);
        const std::string folder = "/ranks/" + what;
        const int threads = ranks % 2 == 0 ? 1 : 2;
        ASSERT_EQ(world.run({.uses = uses,
                             .with = solver,
                             .artifact = folder,
                             .threads = threads,
                             .ranks = ranks,
                             .machines = machines}),
                  absl::OkStatus())
            << what;
        expect_same(expected, results(world, folder), what);
        const bool shared = machines == 1 && GetParam().solver == "gptq" && GetParam().experts == 0;
        if (uses == std::string("quantize")) {
          EXPECT_EQ(world.summaries[uses].value("ranks_share_memory", false), shared) << what;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SameBits,
                         ::testing::Values(Case{"dense_gptq", 0, "gptq", "fp32"},
                                           Case{"dense_gptq_bf16", 0, "gptq", "bf16"},
                                           Case{"dense_rtn", 0, "rtn", "fp32"}, Case{"mixture_gptq", 4, "gptq", "fp32"},
                                           Case{"mixture_rtn", 4, "rtn", "fp32"}),
                         [](const auto& info) { return info.param.name; });

// Begun by some ranks, stopped after a block, continued by others.
TEST(OtherRanks, ContinueWhatWasBegun) {
  TinyOptions options = tiny(0);
  options.blocks = 3;
  World world(options);
  ASSERT_EQ(world.run_until("quantize"), absl::OkStatus());
  const Files expected = results(world, "/a/quantize");
  const json layers = world.summaries["quantize"].at("layers");
  const std::vector<std::pair<int, int>> pairs = {{1, 3}, {3, 1}, {4, 2}, {2, 8}};
  for (const auto& [begun, continued] : pairs) {
    const std::string folder = "/begun" + std::to_string(begun);
    world.sink.on_progress = [&](int64_t done, int64_t) {
      if (done >= 1) world.cancelled = true;
    };
    const Status stopped = world.run({.uses = "quantize", .artifact = folder, .threads = 1, .ranks = begun});
    EXPECT_TRUE(absl::IsCancelled(stopped)) << stopped;
    world.sink.on_progress = nullptr;
    world.cancelled = false;
    ASSERT_EQ(world.run({.uses = "quantize", .artifact = folder, .threads = 1, .ranks = continued}), absl::OkStatus());
    EXPECT_GE(world.summaries["quantize"].at("resumed_blocks").get<int64_t>(), 1);
    EXPECT_EQ(world.summaries["quantize"].at("layers"), layers);
    expect_same(expected, results(world, folder), std::to_string(begun) + " then " + std::to_string(continued));
  }
}

// One rank cannot write: all end, with that rank's reason; later the rest is done.
TEST(OtherRanks, EndWithTheOneThatFails) {
  World world(tiny(0));
  ASSERT_EQ(world.run_until("quantize"), absl::OkStatus());
  const Files expected = results(world, "/a/quantize");
  const auto full = base::make_faulty_env(*world.env, [](std::string_view operation, const std::string& path) {
    return operation == "create" && path.find("00003-of") != std::string::npos
               ? absl::ResourceExhaustedError("no space left: " + path)
               : absl::OkStatus();
  });
  const Status status =
      world.run({.uses = "quantize", .artifact = "/full", .threads = 1, .env = full.get(), .ranks = 3});
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_FALSE(world.files("/full").contains("artifact.json"));
  ASSERT_EQ(world.run({.uses = "quantize", .artifact = "/full", .threads = 1, .ranks = 2}), absl::OkStatus());
  expect_same(expected, results(world, "/full"), "after a full disk");
}

TEST(Agree, FirstRanksErrorGoesToAll) {
  std::vector<std::unique_ptr<comm::Communicator>> ranks = comm::make_thread_ranks(4);
  std::vector<std::thread> threads;
  for (auto& rank : ranks) {
    threads.emplace_back([&comm = *rank] {
      EXPECT_EQ(agree(comm, absl::OkStatus()), absl::OkStatus());
      const Status own = comm.rank() >= 2 ? absl::NotFoundError("by " + std::to_string(comm.rank())) : absl::OkStatus();
      const Status agreed = agree(comm, own);
      EXPECT_TRUE(absl::IsNotFound(agreed));
      EXPECT_EQ(agreed.message(), "by 2");
      EXPECT_TRUE(is_agreed(agreed));
      EXPECT_FALSE(is_agreed(own));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Shard, RanksCutAllSequencesAlongRowGroups) {
  for (const int64_t sequences : {1, 5, 8, 13, 128}) {
    for (const int size : {1, 2, 3, 8, 11}) {
      const auto ranks = comm::make_thread_ranks(size);
      int64_t next = 0, group = 0;
      for (const auto& rank : ranks) {
        const Shard shard(*rank, sequences, 64);
        EXPECT_EQ(shard.first_sequence(), next);
        EXPECT_LE(shard.sequences(), shard.most_sequences());
        int64_t rows = 0;
        for (const ops::RowGroup& own : shard.own_groups()) {
          EXPECT_EQ(own.begin, rows);
          rows += own.count;
          EXPECT_EQ((next * 64 + rows), shard.end_of_group(group++) * 64);
        }
        EXPECT_EQ(rows, shard.sequences() * 64);
        next += shard.sequences();
      }
      EXPECT_EQ(next, sequences);
    }
  }
}

}  // namespace
}  // namespace gridquant::stages
