// quantize in parts (`parallelism: blocks`): Hessians stored by calibrate are those that quantize makes itself; the
// joined checkpoint is the same for any number of parts, ranks and threads; and what is damaged is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "stages/catalog/catalog.h"
#include "stages/stored_hessians.h"
#include "stages/task.h"
#include "tests/unit/formats/power_cut_env.h"
#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::TinyOptions;
using testing::World;
using Files = std::map<std::string, std::string>;

const json kHessian = {{"statistics", "hessian"}};

TinyOptions tiny(int64_t experts = 0) {
  TinyOptions options;
  options.experts = experts;
  if (experts > 0) options.blocks = 2;
  return options;
}

struct FanOut {
  int parts = 1;
  int ranks = 1;
  int threads = 2;
  std::string folder = absl::StrCat("/fan/", parts, "-", ranks);

  std::string part(int number) const { return absl::StrCat(folder, "/part", number); }
  std::string joined() const { return folder + "/quantize"; }
};

Status run_part(World& world, const FanOut& how, int number) {
  return world.run({.uses = kPartStage,
                    .with = {{"part", number}, {"parts", how.parts}},
                    .artifact = how.part(number),
                    .threads = how.threads,
                    .ranks = how.ranks});
}

Status join(World& world, const FanOut& how) {
  World::Run run{.uses = "quantize", .artifact = how.joined(), .threads = how.threads, .ranks = how.ranks};
  for (int number = 1; number <= how.parts; ++number) run.inputs[part_input(number)] = how.part(number);
  return world.run(run);
}

Status fan_out(World& world, const FanOut& how) {
  for (int number = how.parts; number >= 1; --number) GQ_RETURN_IF_ERROR(run_part(world, how, number));
  return join(world, how);
}

Files checkpoint(World& world, const std::string& artifact) {
  return world.files(artifact + "/checkpoint");
}

void expect_same(const Files& expected, const Files& found, const std::string& what) {
  EXPECT_EQ(found.size(), expected.size()) << what;
  for (const auto& [file, content] : expected) {
    EXPECT_TRUE(found.contains(file) && found.at(file) == content) << what << ": " << file;
  }
}

struct Case {
  std::string name;
  int64_t experts;
  std::string solver;
};

class Parts : public ::testing::TestWithParam<Case> {};

TEST_P(Parts, DoNotShowInTheCheckpoint) {
  World world(tiny(GetParam().experts));
  const json solver = {{"solver", GetParam().solver}};
  ASSERT_EQ(world.run_until("plan", {{"calibrate", kHessian}, {"plan", solver}}), absl::OkStatus());
  const FanOut one{.parts = 1, .threads = 1};
  ASSERT_EQ(fan_out(world, one), absl::OkStatus());
  const Files expected = checkpoint(world, one.joined());
  const json summary = world.summaries["quantize"];
  EXPECT_EQ(summary.at("bytes"), summary.at("forecast_bytes"));
  EXPECT_EQ(expected.size(), 6u + static_cast<size_t>(summary.at("blocks").get<int64_t>()));
  for (const FanOut& how : {FanOut{.parts = 2, .ranks = 2}, FanOut{.parts = 3, .threads = 1},
                            FanOut{.parts = 7, .ranks = 3, .threads = 1}, FanOut{.parts = 1, .ranks = 2}}) {
    ASSERT_EQ(fan_out(world, how), absl::OkStatus()) << how.folder;
    expect_same(expected, checkpoint(world, how.joined()), how.folder);
    expect_same(world.files(one.joined() + "/blocks"), world.files(how.joined() + "/blocks"), how.folder);
    for (const char* key : {"layers", "fallbacks", "bytes", "blocks", "quantized_tensors"}) {
      EXPECT_EQ(world.summaries["quantize"].at(key), summary.at(key)) << key;
    }
    EXPECT_EQ(world.summaries["quantize"].at("parts").get<int>(), how.parts);
    EXPECT_EQ(world.summaries["quantize"].value("experts", json()), summary.value("experts", json()));
  }
  ASSERT_EQ(world.run({.uses = "quantize"}), absl::OkStatus());
  const Files sequential = checkpoint(world, "/a/quantize");
  // Rounding never sees other sites; GPTQ in sequence sees quantized predecessors, but for the very first site.
  EXPECT_EQ(sequential == expected, GetParam().solver == "rtn");
  EXPECT_EQ(sequential.at("model.safetensors.index.json"), expected.at("model.safetensors.index.json"));
  ASSERT_EQ(world.run({.uses = "validate", .inputs = {{"quantize", one.joined()}}}), absl::OkStatus());
}

INSTANTIATE_TEST_SUITE_P(All, Parts,
                         ::testing::Values(Case{"dense_gptq", 0, "gptq"}, Case{"dense_rtn", 0, "rtn"},
                                           Case{"mixture_gptq", 4, "gptq"}, Case{"mixture_rtn", 4, "rtn"}),
                         [](const auto& info) { return info.param.name; });

struct Site {
  std::string name;
  int64_t experts;
  std::string weights;  // regular expression of the tensors that are quantized
};

class EverySite : public ::testing::TestWithParam<Site> {};

// Where nothing before a site is quantized, the Hessian that quantize makes of its inputs is the stored one: the same
// codes, scales and report, bit for bit.
TEST_P(EverySite, HasTheHessianThatQuantizeMakes) {
  for (const char* compute : {"fp32", "bf16"}) {
    World world(tiny(GetParam().experts));
    const json how = {{"compute", compute}};
    json calibrate = kHessian;
    calibrate.update(how);
    const json plan = {{"exclude", {"^(?!.*layers\\.1\\..*(" + GetParam().weights + "))"}}};
    ASSERT_EQ(world.run_until("quantize", {{"calibrate", calibrate}, {"plan", plan}, {"quantize", how}}),
              absl::OkStatus());
    ASSERT_GT(world.summaries["plan"].at("quantized_tensors").get<int64_t>(), 0);
    const json layers = world.summaries["quantize"].at("layers");
    const FanOut fan{.parts = 2};
    ASSERT_EQ(fan_out(world, fan), absl::OkStatus());
    expect_same(checkpoint(world, "/a/quantize"), checkpoint(world, fan.joined()), compute);
    EXPECT_EQ(world.summaries["quantize"].at("layers"), layers);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EverySite,
                         ::testing::Values(Site{"attention_input", 0, "[qkv]_proj"},
                                           Site{"attention_output", 0, "o_proj"},
                                           Site{"mlp_input", 0, "gate_proj|up_proj"},
                                           Site{"mlp_output", 0, "down_proj"}, Site{"experts_input", 4, "w1|w3"},
                                           Site{"experts_output", 4, "w2"}),
                         [](const auto& info) { return info.param.name; });

TEST(StoredHessians, AreTheSameForAnyNumberOfRanksAndBudgets) {
  World world(tiny(4));
  ASSERT_EQ(world.run_until("calibrate", {{"calibrate", kHessian}}), absl::OkStatus());
  Files expected = world.files("/a/calibrate");
  ASSERT_TRUE(expected.contains("hessians/block-00001.safetensors"));
  ASSERT_TRUE(expected.contains("hessians.json"));
  expected.erase("artifact.json");
  for (const int ranks : {2, 3, 11}) {
    json with = kHessian;
    if (ranks == 2) with["hiddenStatesBudget"] = 1000;
    const std::string folder = absl::StrCat("/ranks", ranks);
    ASSERT_EQ(world.run({.uses = "calibrate", .with = with, .artifact = folder, .threads = 1, .ranks = ranks}),
              absl::OkStatus());
    Files found = world.files(folder);
    found.erase("artifact.json");
    expect_same(expected, found, folder);
  }
  ASSERT_EQ(world.run({.uses = "calibrate", .artifact = "/diagonal"}), absl::OkStatus());
  for (const auto& [name, content] : world.files("/diagonal")) {
    if (name == "artifact.json") continue;
    EXPECT_EQ(content, expected.at(name)) << name << ": hessian only adds files";
  }
}

TEST(StoredHessians, GoThroughTheFile) {
  World world;
  ASSERT_EQ(world.run_until("analyze"), absl::OkStatus());
  const auto source = open_model(*world.env, "/model");
  ASSERT_TRUE(source.ok()) << source.status();
  ASSERT_TRUE(world.env->make_folders("/h").ok());
  auto writer = HessianWriter::open(*world.env, "/h", *source);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const auto value = [](int64_t b, int64_t width, int64_t i, int64_t j) {  // symmetric
    return static_cast<float>(b * 100'000 + std::min(i, j) * width + std::max(i, j));
  };
  for (int64_t b = 0; b < source->config.block_count; ++b) {
    ASSERT_TRUE(writer->begin_block(b).ok());
    for (const HessianPart& part : hessians_of(*source, b)) {
      tensor::Tensor h(tensor::DType::kF32, {part.width, part.width});
      for (int64_t i = 0; i < part.width; ++i) {
        for (int64_t j = 0; j < part.width; ++j) h.matrix<float>().row(i)[j] = value(b, part.width, i, j);
      }
      ASSERT_TRUE(writer->add(part, 17 + b, std::as_const(h).matrix<float>()).ok());
    }
    ASSERT_TRUE(writer->end_block().ok());
  }
  ASSERT_TRUE(writer->finish("tokens").ok());
  uint64_t bytes = 0;
  for (const auto& [name, content] : world.files("/h/hessians")) bytes += content.size();
  EXPECT_EQ(bytes, hessian_file_bytes(*source));
  Artifact artifact{.uses = "calibrate", .key = "k", .summary = json::object(), .files = {}};
  for (const auto& [name, content] : world.files("/h")) {
    artifact.files.push_back({name, content.size(), base::digest_of(content)});
  }
  ASSERT_TRUE(commit_artifact(*world.env, "/h", artifact).ok());

  device::ThreadPool pool(3);
  auto stored = StoredHessians::open(*world.env, "/h");
  ASSERT_TRUE(stored.ok()) << stored.status();
  for (const int64_t b : {2, 0}) {
    for (const HessianPart& part : hessians_of(*source, b)) {
      EXPECT_EQ(*stored->rows(part), 17 + b);
      const auto h = stored->read(b, part, pool);
      ASSERT_TRUE(h.ok()) << h.status();
      for (int64_t i = 0; i < part.width; ++i) {
        for (int64_t j = 0; j < part.width; ++j) {
          ASSERT_EQ(h->matrix<float>().row(i)[j], value(b, part.width, i, j)) << part.tensor << " " << i << ", " << j;
        }
      }
    }
  }
}

class SmallDisk final : public formats::PowerCutEnv {
 public:
  explicit SmallDisk(uint64_t free) : free_(free) {}
  StatusOr<uint64_t> free_bytes(const std::string&) override { return free_; }

 private:
  uint64_t free_;
};

TEST(StoredHessians, NeedRoomForAllOfThem) {
  World world;
  const auto source = open_model(*world.env, "/model");
  ASSERT_TRUE(source.ok()) << source.status();
  SmallDisk small(hessian_file_bytes(*source) - 1);
  ASSERT_TRUE(small.make_folders("/h").ok());
  const Status status = HessianWriter::open(small, "/h", *source).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(hessian_file_bytes(*source))));
  SmallDisk enough(hessian_file_bytes(*source));
  EXPECT_TRUE(HessianWriter::open(enough, "/h", *source).ok());
}

// The first rank cannot write a block's Hessians: all ranks end, with its reason.
TEST(StoredHessians, FullDiskEndsAllRanks) {
  World world;
  ASSERT_EQ(world.run_until("analyze"), absl::OkStatus());
  for (const char* operation : {"create", "append", "sync", "rename"}) {
    const auto full = base::make_faulty_env(*world.env, [&](std::string_view doing, const std::string& path) {
      return doing == operation && path.find("block-00001") != std::string::npos
                 ? absl::ResourceExhaustedError("no space left: " + path)
                 : absl::OkStatus();
    });
    const Status status =
        world.run({.uses = "calibrate", .with = kHessian, .artifact = "/full", .env = full.get(), .ranks = 3});
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << operation << ": " << status;
    EXPECT_FALSE(world.files("/full").contains("hessians.json"));
  }
  EXPECT_EQ(world.run({.uses = "calibrate", .with = kHessian, .artifact = "/full"}), absl::OkStatus());
}

class Damage : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(world_.run_until("plan", {{"calibrate", kHessian}}), absl::OkStatus()); }
  Status part() { return run_part(world_, {.parts = 1, .folder = "/damage"}, 1); }
  void expect(absl::StatusCode code, const std::string& text) {
    const Status status = part();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
    EXPECT_FALSE(world_.files("/damage/part1").contains("artifact.json"));
  }
  std::string read(const std::string& path) { return *base::read_file(*world_.env, path); }
  void write(const std::string& path, const std::string& content) {
    ASSERT_EQ(base::write_file_atomically(*world_.env, path, content), absl::OkStatus());
  }
  World world_;
  const std::string block_ = "/a/calibrate/hessians/block-00001.safetensors";
};

TEST_F(Damage, OfHessiansIsRefused) {
  const std::string good = read(block_);
  write(block_, good.substr(0, good.size() - 4));
  expect(absl::StatusCode::kDataLoss, block_);
  std::string bent = good;
  bent.replace(bent.find("mlp_input"), 9, "mlp_inpux");
  write(block_, bent);
  expect(absl::StatusCode::kDataLoss, block_);
  write(block_, read("/a/calibrate/hessians/block-00000.safetensors"));
  expect(absl::StatusCode::kDataLoss, "blocks.1.");
  ASSERT_TRUE(world_.env->remove_file(block_).ok());
  expect(absl::StatusCode::kDataLoss, block_);
  std::string flipped = good;
  flipped[good.size() - 1000] = static_cast<char>(flipped[good.size() - 1000] ^ 1);
  write(block_, flipped);
  expect(absl::StatusCode::kDataLoss, block_);
  write(block_, good);
  const std::string list = read("/a/calibrate/hessians.json");
  write("/a/calibrate/hessians.json", "{\"hessians\": [{}]}");
  expect(absl::StatusCode::kDataLoss, "hessians.json");
  write("/a/calibrate/hessians.json", "{\"hessians\": []}");
  expect(absl::StatusCode::kDataLoss, "hessians.json");
  write("/a/calibrate/hessians.json", list);
  EXPECT_EQ(part(), absl::OkStatus());
}

TEST_F(Damage, OfAPartIsRefused) {
  const FanOut fan{.parts = 2};
  ASSERT_EQ(fan_out(world_, fan), absl::OkStatus());
  const Files expected = checkpoint(world_, fan.joined());
  const std::string shard = fan.part(2) + "/shards/model-00004-of-00004.safetensors";
  std::string content = read(shard);
  content.back() = static_cast<char>(content.back() + 1);
  write(shard, content);
  ASSERT_TRUE(world_.env->remove_tree(fan.joined()).ok());
  Status status = join(world_, fan);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(fan.part(2)));
  World::Run lacking{.uses = "quantize", .artifact = fan.joined(), .inputs = {{part_input(2), fan.part(1)}}};
  status = world_.run(lacking);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("end with block 1 of 3"));
  ASSERT_TRUE(world_.env->remove_tree(fan.part(2)).ok());
  ASSERT_EQ(run_part(world_, fan, 2), absl::OkStatus());
  ASSERT_EQ(join(world_, fan), absl::OkStatus());
  expect_same(expected, checkpoint(world_, fan.joined()), "made again");
}

TEST_F(Damage, WithoutHessiansGptqIsRefused) {
  ASSERT_EQ(world_.run({.uses = "calibrate", .artifact = "/diagonal"}), absl::OkStatus());
  const Status status = world_.run({.uses = kPartStage,
                                    .with = {{"part", 1}, {"parts", 2}},
                                    .artifact = "/none",
                                    .inputs = {{"calibrate", "/diagonal"}}});
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("statistics: hessian"));
  EXPECT_TRUE(absl::IsInvalidArgument(
      world_.run({.uses = kPartStage, .with = {{"part", 3}, {"parts", 2}}, .artifact = "/none"})));
}

TEST(Part, GoesOnAfterTheLastBlock) {
  World world;
  ASSERT_EQ(world.run_until("plan", {{"calibrate", kHessian}}), absl::OkStatus());
  const FanOut whole{.parts = 1};
  ASSERT_EQ(fan_out(world, whole), absl::OkStatus());
  const json layers = world.summaries["quantize"].at("layers");
  const FanOut stopped{.parts = 1, .folder = "/stopped"};
  world.sink.on_progress = [&](int64_t done, int64_t) { world.cancelled = done >= 1; };
  EXPECT_TRUE(absl::IsCancelled(run_part(world, stopped, 1)));
  world.sink.on_progress = nullptr;
  world.cancelled = false;
  EXPECT_FALSE(world.files(stopped.part(1)).contains("artifact.json"));
  ASSERT_EQ(fan_out(world, stopped), absl::OkStatus());
  EXPECT_GE(world.summaries["quantize"].at("resumed_blocks").get<int64_t>(), 1);
  EXPECT_EQ(world.summaries["quantize"].at("layers"), layers);
  expect_same(checkpoint(world, whole.joined()), checkpoint(world, stopped.joined()), "continued");
}

}  // namespace
}  // namespace gridquant::stages
