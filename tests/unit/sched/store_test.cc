// The state store (both bodies), the work folder's lock, and the keys of stages.
#include "coordinator/store/state_store.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/store/stage_key.h"
#include "coordinator/store/workdir.h"
#include "stages/catalog/catalog.h"

namespace {
std::atomic<int> syncs = 0;  // of files, by anybody in this process
std::atomic<int> fatal = 0;  // the process is killed before this one; 0: never

void sync_or_die() {
  if (++syncs == fatal) ::kill(::getpid(), SIGKILL);
}
}

// In place of the C library's: SQLite calls one of them.
extern "C" int fdatasync(int fd) {
  sync_or_die();
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}
extern "C" int fsync(int fd) {
  sync_or_die();
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace gridquant::store {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "store-" + std::to_string(::getpid()) + "-" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<StateStore> open(Access access = Access::kReadWrite) {
    auto store = open_sqlite_store(folder_, access);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  std::string folder_;
};

Batch batch_of(const std::string& run, std::vector<std::string> texts) {
  Batch batch;
  for (std::string& text : texts) batch.records.push_back({run, std::move(text)});
  return batch;
}

void expect_remembers(StateStore& store) {
  EXPECT_THAT(*store.records("r-1"), ElementsAre("one", "two", "three"));
  EXPECT_THAT(*store.records("r-9"), IsEmpty());
  const auto runs = store.runs();
  ASSERT_TRUE(runs.ok());
  ASSERT_EQ(runs->size(), 2u);
  EXPECT_EQ((*runs)[0].id, "r-1");
  EXPECT_EQ((*runs)[0].state, "succeeded");
  EXPECT_EQ((*runs)[0].finished_ms, 9);
  EXPECT_EQ((*runs)[1].id, "r-2");
  const auto latest = store.latest_artifact("plan", "plan");
  ASSERT_TRUE(latest.ok() && latest->has_value());
  EXPECT_EQ((*latest)->key, "k2");
  EXPECT_EQ((*latest)->components, json({{"bits", 4}}));
  EXPECT_FALSE(store.latest_artifact("plan-other", "plan")->has_value());
}

void fill(StateStore& store) {
  ASSERT_TRUE(store.commit(batch_of("r-1", {"one", "two"})).ok());
  Batch second = batch_of("r-1", {"three"});
  second.records.push_back({"r-2", "other"});
  second.runs = {{"r-1", "r", "running", 5, 0}, {"r-2", "r", "running", 6, 0}};
  second.artifacts = {{"k1", "plan", "plan", "r-1", 7, {{"bits", 3}}}, {"k2", "plan", "plan", "r-1", 8, {{"bits", 4}}}};
  ASSERT_TRUE(store.commit(second).ok());
  Batch third;
  third.runs = {{"r-1", "r", "succeeded", 5, 9}};
  ASSERT_TRUE(store.commit(third).ok());
}

TEST_F(StoreTest, BothBodiesRemember) {
  const auto memory = make_memory_store();
  fill(*memory);
  expect_remembers(*memory);
  const auto sqlite = open();
  fill(*sqlite);
  expect_remembers(*sqlite);
}

TEST_F(StoreTest, WhatWasCommittedSurvivesAKilledProcess) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = open_sqlite_store(folder_, Access::kReadWrite);
    fill(**store);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  expect_remembers(*open(Access::kReadOnly));
  expect_remembers(*open());
}

std::vector<std::string> all_records(StateStore& store) {
  std::vector<std::string> texts;
  EXPECT_TRUE(store
                  .each_record([&](const std::string& text) {
                    texts.push_back(text.size() > 20 ? "long" : text);
                    return absl::OkStatus();
                  })
                  .ok());
  return texts;
}

Batch deletion() {
  Batch batch = batch_of("r-1", {"deleted"});
  batch.erased = {{"r-1", "mark"}};
  return batch;
}

TEST_F(StoreTest, AnErasedRunLeavesItsLastRecordAndAMarkInItsPlace) {
  for (const auto& store : {std::shared_ptr<StateStore>(make_memory_store()), std::shared_ptr<StateStore>(open())}) {
    ASSERT_TRUE(store->commit(batch_of("r-0", {"zero"})).ok());
    fill(*store);
    ASSERT_TRUE(store->commit(deletion()).ok());
    ASSERT_TRUE(store->commit(batch_of("r-3", {"later"})).ok());
    EXPECT_THAT(all_records(*store), ElementsAre("zero", "mark", "other", "deleted", "later"));
    EXPECT_THAT(*store->records("r-1"), ElementsAre("deleted"));
    EXPECT_THAT(*store->records(""), ElementsAre("mark"));
    EXPECT_EQ(store->runs()->size(), 2u) << "ids are remembered";
  }
}

// Killed before each sync of a run's erasure and of the shrinking after it: all of it is found, or nothing.
TEST_F(StoreTest, AnErasureIsWholeOrNotAtAll) {
  std::set<std::vector<std::string>> seen;
  bool survived = false;
  for (int kill_at = 1; !survived; ++kill_at) {
    ASSERT_LT(kill_at, 100);
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    {
      const auto store = open();
      ASSERT_TRUE(store->commit(batch_of("r-0", {"zero"})).ok());
      std::vector<std::string> large(6, std::string(1 << 20, 'x'));
      ASSERT_TRUE(store->commit(batch_of("r-1", large)).ok());
      ASSERT_TRUE(store->commit(batch_of("r-2", {"other"})).ok());
    }
    const pid_t child = ::fork();
    if (child == 0) {
      syncs = 0;
      fatal = kill_at;
      const bool done = (*open_sqlite_store(folder_, Access::kReadWrite))->commit(deletion()).ok() &&
                        open_sqlite_store(folder_, Access::kReadWrite).ok();
      ::_exit(done ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    survived = WIFEXITED(status);
    ASSERT_TRUE(!survived || WEXITSTATUS(status) == 0);
    seen.insert(all_records(*open(Access::kReadOnly)));
    seen.insert(all_records(*open()));
  }
  const std::vector<std::string> before = {"zero", "long", "long", "long", "long", "long", "long", "other"};
  const std::vector<std::string> after = {"zero", "mark", "other", "deleted"};
  EXPECT_THAT(seen, testing::UnorderedElementsAre(before, after));
  EXPECT_LT(std::filesystem::file_size(folder_ + "/state.db"), 1u << 20) << "the room of erased runs is given back";
}

TEST_F(StoreTest, OfTheArtifactsOfAStageTheLatestIsKept) {
  const auto store = open();
  for (int commit = 0; commit < 20; ++commit) {
    Batch batch;
    for (int i = 0; i < 100; ++i) {
      batch.artifacts.push_back(
          {"k", "plan", "plan", "r-1", commit * 100 + i, {{"large", std::string(10'000, 'x')}}});
    }
    ASSERT_TRUE(store->commit(batch).ok());
  }
  EXPECT_EQ((*store->latest_artifact("plan", "plan"))->made_ms, 1'999);
  EXPECT_LT(std::filesystem::file_size(folder_ + "/state.db"), 1u << 20);
}

TEST_F(StoreTest, EveryCommitIsSyncedIntoAWriteAheadLog) {
  const auto store = open();
  for (int i = 0; i < 20; ++i) {
    const int before = syncs;
    ASSERT_TRUE(store->commit(batch_of("r-1", {"record " + std::to_string(i)})).ok());
    EXPECT_GT(syncs, before) << "no answer may go out before this";
  }
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/state.db-wal"));
}

TEST_F(StoreTest, AReaderSeesCommitsWhileTheWriterHasItOpen) {
  const auto writer = open();
  const auto reader = open(Access::kReadOnly);
  EXPECT_THAT(*reader->runs(), IsEmpty());
  fill(*writer);
  expect_remembers(*reader);
  EXPECT_FALSE(reader->commit(batch_of("r-1", {"four"})).ok());
}

TEST_F(StoreTest, AnotherFormatIsRefusedWithAllThatOneMustKnow) {
  open();
  {  // user_version is the 32-bit big-endian number at byte 60 of an SQLite file
    std::fstream file(folder_ + "/state.db", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(60);
    file.write("\0\0\0\x07", 4);
  }
  for (const Access access : {Access::kReadWrite, Access::kReadOnly}) {
    const auto store = open_sqlite_store(folder_, access);
    ASSERT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
    const std::string message(store.status().message());
    EXPECT_THAT(message, HasSubstr(folder_));
    EXPECT_THAT(message, HasSubstr("has format 7"));
    EXPECT_THAT(message, HasSubstr("reads format 2"));
    EXPECT_THAT(message, HasSubstr("--workdir"));
  }
}

TEST_F(StoreTest, TheFormatBeforeIsReadAndMarkedByWhoeverWrites) {
  open();
  const auto set_format = [&](char format) {
    std::fstream file(folder_ + "/state.db", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(63);
    file.put(format);
  };
  set_format(1);
  EXPECT_NE(open(Access::kReadOnly), nullptr);
  EXPECT_NE(open(), nullptr);
  std::ifstream file(folder_ + "/state.db", std::ios::binary);
  file.seekg(63);
  EXPECT_EQ(file.get(), 2);
}

TEST_F(StoreTest, WhatIsNoStoreIsSaidToBeNone) {
  EXPECT_EQ(open_sqlite_store(folder_, Access::kReadOnly).status().code(), absl::StatusCode::kNotFound);
  std::ofstream(folder_ + "/state.db") << std::string(4096, 'x');
  EXPECT_EQ(open_sqlite_store(folder_, Access::kReadWrite).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(StoreTest, TheSecondLockIsRefusedAndNamesTheHolder) {
  EXPECT_FALSE(is_in_use(folder_));
  {
    const auto first = WorkdirLock::acquire(folder_, 0);
    ASSERT_TRUE(first.ok());
    EXPECT_TRUE(is_in_use(folder_));
    const auto second = WorkdirLock::acquire(folder_, 0);
    ASSERT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(second.status().message()), HasSubstr("process " + std::to_string(::getpid())));
  }
  EXPECT_TRUE(WorkdirLock::acquire(folder_, 0).ok());
}

// ---- keys

class KeyTest : public testing::Test {
 protected:
  void SetUp() override {
    write("/m/config.json", "config");
    write("/m/model.safetensors", "weights");
    write("/en.txt", "text");
    spec::StagePlan analyze{.name = "analyze",
                            .uses = "analyze",
                            .needs = {},
                            .inputs = {},
                            .with = {{"model", "/m"}},
                            .condition = {},
                            .matrix = {},
                            .retry = {}};
    spec::StagePlan calibrate{.name = "calibrate",
                              .uses = "calibrate",
                              .needs = {"analyze"},
                              .inputs = {{"analyze", "analyze"}},
                              .with = json::object(),
                              .condition = {},
                              .matrix = {},
                              .retry = {}};
    calibrate.with = {{"datasets", {{{"path", "/en.txt"}, {"language", "en"}}}}, {"samples", 8}, {"compute", "auto"}};
    pipeline_.stages = {calibrate, analyze};  // not in order of needs
  }
  void write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(env_->make_folders(base::folder_of(path)).ok());
    ASSERT_TRUE(base::write_file_atomically(*env_, path, text).ok());
  }
  std::map<std::string, StageKey> keys(const std::string& auto_means = "fp32", const std::string& cpu = "x") {
    const auto keys = compute_stage_keys(*env_, pipeline_, {cpu, [&](const std::string& name) -> StatusOr<std::string> {
                                                              return name == "auto" ? auto_means : name;
                                                            }});
    EXPECT_TRUE(keys.ok()) << keys.status();
    return *keys;
  }
  json& with(const std::string& stage) {
    return stage == "calibrate" ? pipeline_.stages[0].with : pipeline_.stages[1].with;
  }

  std::unique_ptr<base::Env> env_ = base::make_memory_env();
  spec::Pipeline pipeline_;
};

TEST_F(KeyTest, KeysFollowContentNotNames) {
  const auto before = keys();
  EXPECT_EQ(before.at("analyze").key.size(), 64u);
  EXPECT_EQ(keys().at("calibrate").key, before.at("calibrate").key);
  write("/elsewhere/config.json", "config");
  write("/elsewhere/model.safetensors", "weights");
  with("analyze")["model"] = "/elsewhere";
  EXPECT_EQ(keys().at("analyze").key, before.at("analyze").key) << "the same model at another place";
  write("/elsewhere/model.safetensors", "Weights");
  const auto after = keys();
  EXPECT_NE(after.at("analyze").key, before.at("analyze").key);
  EXPECT_NE(after.at("calibrate").key, before.at("calibrate").key) << "what follows from it changes too";
  EXPECT_THAT(differences(before.at("analyze").components, after.at("analyze").components),
              ElementsAre(HasSubstr("with.model: content ")));
  EXPECT_THAT(differences(before.at("calibrate").components, after.at("calibrate").components),
              ElementsAre(HasSubstr("inputs.analyze: content ")));
}

TEST_F(KeyTest, EveryComponentCounts) {
  const auto before = keys().at("calibrate");
  with("calibrate")["samples"] = 16;
  const auto samples = keys().at("calibrate");
  EXPECT_THAT(differences(before.components, samples.components), ElementsAre("with.samples: 8 -> 16"));
  EXPECT_NE(before.key, samples.key);
  with("calibrate")["samples"] = 8;
  write("/en.txt", "other text");
  EXPECT_THAT(differences(before.components, keys().at("calibrate").components),
              ElementsAre(HasSubstr("with.datasets[0].path: content ")));
  write("/en.txt", "text");
  EXPECT_EQ(keys().at("calibrate").key, before.key);
  EXPECT_THAT(differences(before.components, keys("bf16").at("calibrate").components),
              ElementsAre("compute: fp32 -> bf16"));
  EXPECT_NE(keys("fp32", "y").at("calibrate").key, before.key);
  pipeline_.stages[0].version = 2;
  EXPECT_THAT(differences(before.components, keys().at("calibrate").components), ElementsAre("version: 1 -> 2"));
}

TEST_F(KeyTest, AutoAndWhatItMeansHereAreOneKey) {
  const std::string automatic = keys("bf16").at("calibrate").key;
  with("calibrate")["compute"] = "bf16";
  EXPECT_EQ(keys("bf16").at("calibrate").key, automatic);
}

TEST_F(KeyTest, TheNumberOfPartsIsNotInTheJoinedKey) {
  const auto joined = [&](int parts) {
    pipeline_.stages.resize(2);
    const auto plan = [](const std::string& name, const char* uses) {
      spec::StagePlan stage;
      stage.name = name;
      stage.uses = uses;
      stage.inputs = {{"analyze", "analyze"}};
      stage.with = json::object();
      return stage;
    };
    spec::StagePlan join = plan("q", "quantize");
    for (int number = 1; number <= parts; ++number) {
      spec::StagePlan part = plan("q-part-" + std::to_string(number), stages::kPartStage);
      part.with = {{"part", number}, {"parts", parts}};
      join.inputs[stages::part_input(number)] = part.name;
      pipeline_.stages.push_back(part);
    }
    pipeline_.stages.push_back(join);
    return keys();
  };
  const auto none = joined(0), two = joined(2), three = joined(3);
  EXPECT_EQ(two.at("q").key, three.at("q").key);
  EXPECT_NE(two.at("q").key, none.at("q").key) << "in sequence the bytes are others";
  EXPECT_NE(two.at("q-part-1").key, two.at("q-part-2").key);
  EXPECT_NE(two.at("q-part-1").key, three.at("q-part-1").key);
}

TEST_F(KeyTest, AMissingPathNamesStageAndParameter) {
  with("calibrate")["datasets"][0]["path"] = "/gone.txt";
  const auto keys = compute_stage_keys(*env_, pipeline_, {"x", [](const std::string& name) { return name; }});
  ASSERT_EQ(keys.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(keys.status().message()), HasSubstr("stage calibrate: datasets: path: /gone.txt"));
}

TEST(FingerprintTest, AllPartsOfASplitModelCount) {
  const auto env = base::make_memory_env();
  ASSERT_TRUE(env->make_folders("m").ok());
  const auto write = [&](const std::string& name, const std::string& text) {
    ASSERT_TRUE(base::write_file_atomically(*env, "m/" + name, text).ok());
  };
  write("a-00001-of-00002.gguf", "1");
  write("a-00002-of-00002.gguf", "2");
  write("b-00002-of-00002.gguf", "3");
  const std::string before = *fingerprint(*env, "m/a-00001-of-00002.gguf");
  EXPECT_EQ(*fingerprint(*env, "m/a-00002-of-00002.gguf"), before);
  write("b-00002-of-00002.gguf", "4");
  EXPECT_EQ(*fingerprint(*env, "m/a-00001-of-00002.gguf"), before);
  write("a-00002-of-00002.gguf", "5");
  EXPECT_NE(*fingerprint(*env, "m/a-00001-of-00002.gguf"), before);
}

TEST(FingerprintTest, LargeFilesCountByEndsSizeAndTime) {
  const std::string path = testing::TempDir() + "large-" + std::to_string(::getpid());
  std::ofstream(path) << "start";
  std::filesystem::resize_file(path, (64ull << 20) + 4096);  // sparse
  const auto before = fingerprint(base::posix_env(), path);
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_EQ(*fingerprint(base::posix_env(), path), *before);
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(5));
  EXPECT_NE(*fingerprint(base::posix_env(), path), *before);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace gridquant::store
