// Delivery: the output folder has a whole checkpoint or the one from before, whatever fails on the way.
#include "coordinator/deliver/deliver.h"

#include <stdlib.h>

#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/digest.h"
#include "stages/task.h"

namespace gridquant::deliver {
namespace {

using nlohmann::json;

class DeliverTest : public testing::Test {
 protected:
  void SetUp() override {
    write("/out/checkpoint/model", "old");
    make_artifact("/artifact", {{"checkpoint/model", "new"}, {"checkpoint/sub/x", "x"}, {"blocks.json", "no"}});
    run_.id = "r-1";
    run_.created_ms = 1'763'800'000'000;
    run_.pipeline.name = "r";
    run_.pipeline.params = json::object();
    add_stage("quantize", "quantize");
  }
  void write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(env_->make_folders(base::folder_of(path)).ok());
    ASSERT_TRUE(base::write_file_atomically(*env_, path, text).ok());
  }
  void make_artifact(const std::string& folder, const std::map<std::string, std::string>& files) {
    stages::Artifact artifact{.uses = "quantize", .key = "k", .summary = json::object(), .files = {}};
    for (const auto& [path, text] : files) {
      write(folder + "/" + path, text);
      artifact.files.push_back({path, text.size(), base::digest_of(text)});
    }
    ASSERT_TRUE(stages::commit_artifact(*env_, folder, artifact).ok());
  }
  void add_stage(const std::string& name, const std::string& uses) {
    sched::Stage stage;
    stage.plan.name = name;
    stage.plan.uses = uses;
    stage.state = sched::StageState::kSucceeded;
    stage.summary = {{"of", name}};
    run_.stages.push_back(stage);
  }
  Delivery delivery() const {
    return {.run = run_,
            .output = "/out",
            .artifact_of = [](const std::string&) { return std::string("/artifact"); },
            .environment = json::object(),
            .warnings = {}};
  }
  std::string read(const std::string& path) const { return base::read_file(*env_, path).value_or("(absent)"); }

  std::unique_ptr<base::Env> env_ = base::make_memory_env();
  sched::Run run_;
};

TEST_F(DeliverTest, TheOldCheckpointIsReplacedWhole) {
  ASSERT_TRUE(deliver_checkpoints(*env_, delivery()).ok());
  EXPECT_EQ(read("/out/checkpoint/model"), "new");
  EXPECT_EQ(read("/out/checkpoint/sub/x"), "x");
  EXPECT_FALSE(env_->exists("/out/checkpoint/blocks.json"));
  EXPECT_THAT(*env_->list("/out"), testing::ElementsAre("checkpoint"));
}

TEST_F(DeliverTest, AnyFailureLeavesTheOldTheNewOrNothing) {
  int failures = 0;
  bool reached = true;  // the operation that is to fail
  for (int fail_at = 0; reached; ++fail_at) {
    env_ = base::make_memory_env();
    run_.stages.clear();
    SetUp();
    int count = 0;
    const auto faulty = base::make_faulty_env(*env_, [&](std::string_view operation, const std::string&) -> Status {
      if (operation == "read") return absl::OkStatus();
      return count++ == fail_at ? absl::ResourceExhaustedError("disk full") : absl::OkStatus();
    });
    const Status status = deliver_checkpoints(*faulty, delivery());
    reached = count > fail_at;
    if (!status.ok()) {
      ++failures;
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    }
    const std::string model = read("/out/checkpoint/model");
    const bool is_new = model == "new" && read("/out/checkpoint/sub/x") == "x";
    EXPECT_TRUE(model == "old" || is_new || !env_->exists("/out/checkpoint")) << fail_at << ": " << model;
    ASSERT_TRUE(deliver_checkpoints(*env_, delivery()).ok()) << "the same command again";
    EXPECT_EQ(read("/out/checkpoint/sub/x"), "x");
    EXPECT_THAT(*env_->list("/out"), testing::ElementsAre("checkpoint"));
  }
  EXPECT_GT(failures, 5);
}

// Two processes: within a coordinator one delivery into a folder waits for the other.
TEST_F(DeliverTest, TwoAtOnceIntoOneFolderLeaveOneOfThemWhole) {
  char folder[] = "/tmp/gridquant_deliver_XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  base::Env& env = base::posix_env();
  const std::string root = folder, output = root + "/out";
  for (const std::string name : {"a", "b"}) {
    stages::Artifact artifact{.uses = "quantize", .key = name, .summary = json::object(), .files = {}};
    ASSERT_TRUE(env.make_folders(root + "/" + name + "/checkpoint").ok());
    for (int i = 0; i < 20; ++i) {
      const std::string path = "checkpoint/shard-" + std::to_string(i);
      ASSERT_TRUE(base::write_file_unsynced(env, base::join_path(root + "/" + name, path), name).ok());
      artifact.files.push_back({path, 1, base::digest_of(name)});
    }
    ASSERT_TRUE(stages::commit_artifact(env, root + "/" + name, artifact).ok());
  }
  ASSERT_TRUE(env.make_folders(output).ok());
  const auto deliver = [&](const std::string& name) {
    Delivery one = delivery();
    one.output = output;
    one.artifact_of = [&](const std::string&) { return root + "/" + name; };
    return deliver_checkpoints(env, one).ok();
  };
  int delivered = 0;
  for (int round = 0; round < 100; ++round) {
    bool a = false, b = false;
    std::thread other([&] { a = deliver("a"); });
    b = deliver("b");
    other.join();
    delivered += (a ? 1 : 0) + (b ? 1 : 0);
    if (!a && !b) continue;
    std::string content;
    for (int i = 0; i < 20; ++i) {
      content += base::read_file(env, output + "/checkpoint/shard-" + std::to_string(i)).value_or("(absent)");
    }
    ASSERT_THAT(content, testing::AnyOf(std::string(20, 'a'), std::string(20, 'b'))) << "round " << round;
  }
  EXPECT_GT(delivered, 0);
  ASSERT_TRUE(deliver("a"));
  EXPECT_THAT(*env.list(output), testing::ElementsAre("checkpoint")) << "nothing is left behind";
  EXPECT_TRUE(env.remove_tree(root).ok());
}

TEST_F(DeliverTest, SeveralQuantizeStagesGetFoldersOfTheirOwn) {
  add_stage("quantize-3", "quantize");
  ASSERT_TRUE(deliver_checkpoints(*env_, delivery()).ok());
  EXPECT_EQ(read("/out/quantize/checkpoint/model"), "new");
  EXPECT_EQ(read("/out/quantize-3/checkpoint/model"), "new");
}

TEST_F(DeliverTest, TheReportHasASectionPerStage) {
  add_stage("look", "analyze");
  const json report = make_report(delivery());
  EXPECT_EQ(report["model"]["of"], "look");
  EXPECT_EQ(report["quantize"]["of"], "quantize");
  EXPECT_FALSE(report.contains("validate"));
  EXPECT_EQ(report["created"], "2025-11-22T08:26:40Z");
  EXPECT_EQ(report["stages"].size(), 2u);
  ASSERT_TRUE(deliver_report(*env_, "/out", report).ok());
  EXPECT_EQ(json::parse(read("/out/report.json")), report);
  EXPECT_THAT(read("/out/report.html"), testing::HasSubstr("<html"));
}

TEST_F(DeliverTest, AnOutputThatCannotBeWrittenIsFoundOut) {
  EXPECT_TRUE(probe_output(*env_, "/new/folder").ok());
  EXPECT_THAT(*env_->list("/new/folder"), testing::IsEmpty());
  const auto faulty = base::make_faulty_env(*env_, [](std::string_view operation, const std::string&) -> Status {
    return operation == "create" ? absl::PermissionDeniedError("permission denied") : absl::OkStatus();
  });
  const Status status = probe_output(*faulty, "/out");
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("--output DIR"));
}

}  // namespace
}  // namespace gridquant::deliver
