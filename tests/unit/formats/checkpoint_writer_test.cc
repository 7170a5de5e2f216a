// The folder writer: what it leaves, what it reuses, what it refuses. Crashes: checkpoint_crash_test.cc.
#include "engine/formats/checkpoint_writer.h"

#include <nlohmann/json.hpp>

#include "engine/formats/checkpoint.h"
#include "tests/unit/formats/writer_testing.h"

namespace gridquant::formats {
namespace {

using ::testing::ElementsAre;

class CheckpointWriterTest : public ::testing::Test {
 protected:
  void SetUp() override { make_source(*env_); }
  std::unique_ptr<base::Env> env_ = base::make_memory_env();
};

TEST_F(CheckpointWriterTest, LeavesACompleteFolder) {
  ASSERT_TRUE(run(*env_).ok());
  EXPECT_THAT(env_->list("out").value(),
              ElementsAre(".gridquant", "README.md", "added_tokens.json", "chat_template.jinja", "config.json",
                          "generation_config.json", "merges.txt", "model-00001-of-00003.safetensors",
                          "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
                          "model.safetensors.index.json", "quantize_config.json", "special_tokens_map.json",
                          "spiece.model", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json"));
  EXPECT_EQ(get(*env_, "out/tokenizer.json"), "content of tokenizer.json");
  EXPECT_EQ(get(*env_, "out/README.md"), "# quantized\n");
  const auto checkpoint = Checkpoint::open(*env_, "out");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->names().size(), 6u);
  EXPECT_EQ(checkpoint->read("layers.2.qweight")->as<int32_t>()[0], 2);
}

TEST_F(CheckpointWriterTest, WritesConfigAndIndexAsLoadersWantThem) {
  ASSERT_TRUE(run(*env_).ok());
  EXPECT_EQ(
      get(*env_, "out/config.json"),
      "{\n  \"model_type\": \"llama\",\n  \"architectures\": [\n    \"X\"\n  ],\n  \"rms_norm_eps\": 1e-05,\n"
      "  \"a\": \"é\",\n  \"quantization_config\": {\n    \"quant_method\": \"gptq\",\n    \"bits\": 4\n  }\n}\n");
  EXPECT_EQ(get(*env_, "out/quantize_config.json"), "{\n  \"quant_method\": \"gptq\",\n  \"bits\": 4\n}\n");
  const auto index = nlohmann::ordered_json::parse(get(*env_, kIndex));
  EXPECT_EQ(index["metadata"]["total_size"], 3 * 20);
  std::vector<std::string> names;
  for (const auto& [name, file] : index["weight_map"].items()) names.push_back(name);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(index["weight_map"]["layers.1.norm"], "model-00002-of-00003.safetensors");
}

TEST_F(CheckpointWriterTest, WithoutQuantizationNothingIsSaidAboutIt) {
  auto writer = CheckpointWriter::open(*env_, {"out", 1, "key"});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->commit_shard(0, shard(0)).ok());
  FinishOptions plain{folder_texts(*env_, "source"), R"({"a": 1, "quantization_config": {"old": 1}})", "", {}};
  ASSERT_TRUE(writer->finish(plain).ok());
  EXPECT_EQ(get(*env_, "out/config.json"), "{\n  \"a\": 1\n}\n");
  EXPECT_FALSE(env_->exists("out/quantize_config.json"));
}

TEST_F(CheckpointWriterTest, ReusesWhatIsCommitted) {
  {
    auto writer = CheckpointWriter::open(*env_, options());
    ASSERT_TRUE(writer.ok());
    EXPECT_FALSE(writer->finished());
    ASSERT_TRUE(writer->commit_shard(1, shard(1)).ok());
    EXPECT_EQ(writer->file_bytes(), env_->file_size(writer->shard_path(1)).value());
  }
  auto again = CheckpointWriter::open(*env_, options());
  ASSERT_TRUE(again.ok());
  EXPECT_THAT(again->committed_shards(), ElementsAre(1));
  EXPECT_FALSE(env_->exists(kIndex));
  std::vector<int> made;
  ASSERT_TRUE(run(*env_, options(), &made).ok());
  EXPECT_THAT(made, ElementsAre(0, 2));
  made.clear();
  ASSERT_TRUE(run(*env_, options(), &made).ok());
  EXPECT_THAT(made, ElementsAre());
  EXPECT_TRUE(CheckpointWriter::open(*env_, options())->finished());
}

TEST_F(CheckpointWriterTest, AnotherKeyOrCountStartsOver) {
  ASSERT_TRUE(run(*env_).ok());
  CheckpointWriterOptions more = options();
  more.shard_count = 4;
  for (const CheckpointWriterOptions& changed : {options("other"), more}) {
    auto writer = CheckpointWriter::open(*env_, changed);
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_THAT(writer->committed_shards(), ElementsAre());
    EXPECT_FALSE(writer->finished());
    EXPECT_FALSE(env_->exists(kIndex));
    std::vector<int> made;
    ASSERT_TRUE(run(*env_, changed, &made).ok());
    EXPECT_EQ(static_cast<int>(made.size()), changed.shard_count);
  }
  EXPECT_FALSE(env_->exists("out/model-00001-of-00003.safetensors"));
  EXPECT_TRUE(Checkpoint::open(*env_, "out").ok());
}

TEST_F(CheckpointWriterTest, DamagedShardsAndManifestsAreMadeAgain) {
  ASSERT_TRUE(run(*env_).ok());
  const auto whole = snapshot(*env_, "out");
  const std::string file = "out/model-00002-of-00003.safetensors";
  const std::string manifest = "out/.gridquant/shard-00002.json";
  const std::string text = whole.at(manifest);
  std::string flipped = whole.at(file);
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  const std::pair<std::string, std::string> damages[] = {{file, whole.at(file).substr(1)},
                                                         {file, flipped},
                                                         {manifest, ""},
                                                         {manifest, "{}"},
                                                         {manifest, "[]"},
                                                         {manifest, text.substr(0, text.size() / 2)},
                                                         {manifest, whole.at("out/.gridquant/shard-00001.json")}};
  for (const auto& [path, content] : damages) {
    put(*env_, path, content);
    std::vector<int> made;
    ASSERT_TRUE(run(*env_, options(), &made).ok());
    EXPECT_THAT(made, ElementsAre(1)) << path << ": " << content.substr(0, 60);
    EXPECT_EQ(snapshot(*env_, "out"), whole);
  }
  ASSERT_TRUE(env_->remove_file(file).ok());
  ASSERT_TRUE(CheckpointWriter::open(*env_, options()).ok());
  EXPECT_FALSE(env_->exists(kIndex)) << "looks complete without a shard";
  std::vector<int> made;
  ASSERT_TRUE(run(*env_, options(), &made).ok());
  EXPECT_THAT(made, ElementsAre(1));
}

TEST_F(CheckpointWriterTest, SizesAloneAreCheckedUnlessDigestsAreAskedFor) {
  ASSERT_TRUE(run(*env_).ok());
  const std::string file = "out/model-00002-of-00003.safetensors";
  std::string flipped = get(*env_, file);
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  put(*env_, file, flipped);
  CheckpointWriterOptions quick = options();
  quick.verify_digests = false;
  EXPECT_THAT(CheckpointWriter::open(*env_, quick)->committed_shards(), ElementsAre(0, 1, 2));
  put(*env_, "out/model-00003-of-00003.safetensors", flipped + "x");
  EXPECT_THAT(CheckpointWriter::open(*env_, quick)->committed_shards(), ElementsAre(0, 1));
  EXPECT_THAT(CheckpointWriter::open(*env_, options())->committed_shards(), ElementsAre(0));
}

TEST_F(CheckpointWriterTest, NeverTouchesSomebodyElsesModel) {
  for (const char* name : {"config.json", "model.safetensors", "model-00001-of-00002.safetensors"}) {
    const auto env = base::make_memory_env();
    put(*env, "out/" + std::string(name), "precious");
    const Status status = CheckpointWriter::open(*env, options()).status();
    expect_message(status, {"out: this folder holds a model already", name, "choose another output folder"});
    EXPECT_EQ(exit_code_for(status), ExitCode::kInput);
    EXPECT_EQ(snapshot(*env, "out").size(), 1u);
  }
  put(*env_, "out/notes.txt", "may stay");
  ASSERT_TRUE(run(*env_).ok());
  EXPECT_EQ(get(*env_, "out/notes.txt"), "may stay");
}

TEST_F(CheckpointWriterTest, RefusesMisuse) {
  EXPECT_TRUE(absl::IsInvalidArgument(CheckpointWriter::open(*env_, {"out", 0, "key"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckpointWriter::open(*env_, {"out", 100'000, "key"}).status()));
  auto writer = CheckpointWriter::open(*env_, options());
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->commit_shard(0, shard(0)).ok());
  expect_message(writer->commit_shard(1, shard(0)), {"layers.0.", "model-00001-of-00003", "already"});
  EXPECT_FALSE(writer->commit_shard(3, shard(1)).ok());
  EXPECT_FALSE(writer->commit_shard(-1, shard(1)).ok());
  expect_message(writer->finish(finish_options(*env_)), {"model-00002-of-00003.safetensors was not committed"});
  EXPECT_FALSE(env_->exists(kIndex));
  ASSERT_TRUE(writer->commit_shard(0, shard(0)).ok()) << "again is fine";
  ASSERT_TRUE(writer->commit_shard(1, shard(1)).ok());
  ASSERT_TRUE(writer->commit_shard(2, shard(2)).ok());
  FinishOptions bad = finish_options(*env_);
  bad.config_json = "[]";
  expect_message(writer->finish(bad), {"config.json"});
  EXPECT_FALSE(env_->exists(kIndex));
  ASSERT_TRUE(writer->finish(finish_options(*env_)).ok());
  EXPECT_TRUE(writer->finished());
}

// A disk that cannot be read just now says nothing about the shards: they are not thrown away.
TEST_F(CheckpointWriterTest, ReadTroubleLosesNothing) {
  ASSERT_TRUE(run(*env_).ok());
  const auto whole = snapshot(*env_, "out");
  for (const char* unreadable : {"writer.json", "shard-00002.json", "model-00003-of-00003.safetensors"}) {
    const auto env = base::make_faulty_env(*env_, [&](std::string_view operation, const std::string& path) {
      return operation == "read" && path.ends_with(unreadable) ? absl::UnavailableError("disk") : absl::OkStatus();
    });
    EXPECT_TRUE(absl::IsUnavailable(CheckpointWriter::open(*env, options()).status())) << unreadable;
    EXPECT_EQ(snapshot(*env_, "out"), whole);
  }
}

}  // namespace
}  // namespace gridquant::formats
