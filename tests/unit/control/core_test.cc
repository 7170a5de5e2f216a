// The owner of the scheduler with a store that is slow or fails: what is answered when, and what becomes of the rest.
#include "coordinator/control/core.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/control/artifacts.h"
#include "coordinator/control/garbage.h"
#include "coordinator/control/submit_flow.h"
#include "coordinator/store/workdir.h"
#include "engine/base/digest.h"
#include "stages/task.h"

namespace gridquant::control {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// In memory; counts transactions, and asks before each what is to become of it.
class WatchedStore final : public store::StateStore {
 public:
  std::function<Status()> before_commit = [] { return absl::OkStatus(); };
  std::vector<size_t> transactions;  // records of each

  Status commit(const store::Batch& batch) override {
    GQ_RETURN_IF_ERROR(before_commit());
    transactions.push_back(batch.records.size());
    return memory_->commit(batch);
  }
  StatusOr<std::vector<std::string>> records(const std::string& run) override { return memory_->records(run); }
  StatusOr<std::vector<std::string>> records(const std::string& run, uint64_t after, size_t most) override {
    return memory_->records(run, after, most);
  }
  Status each_record(const std::function<Status(const std::string&)>& each) override {
    return memory_->each_record(each);
  }
  StatusOr<std::vector<store::RunRow>> runs() override { return memory_->runs(); }
  StatusOr<std::optional<store::ArtifactRow>> latest_artifact(const std::string& stage,
                                                              const std::string& uses) override {
    return memory_->latest_artifact(stage, uses);
  }

 private:
  std::unique_ptr<store::StateStore> memory_ = store::make_memory_store();
};

class CoreTest : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void open() {
    core_ = std::make_unique<Core>(Core::Seams{*env_, clock_, store_, *executor_},
                                   CoreOptions{.store = "/store", .store_id = "s", .secret = "x"});
    const Status recovered = core_->recover();
    ASSERT_TRUE(recovered.ok()) << recovered;
    store_.transactions.clear();
  }
  // Its answer goes to answers_.
  void set_queue(const std::string& name) {
    sched::QueueRequested input{.queue = name, .quota = {.cores = 1}, .request = "request of " + name};
    ASSERT_TRUE(core_
                    ->post(input,
                           [this, name](const StatusOr<std::string>& result) {
                             answers_.push_back(name + ": " +
                                                std::string(absl::StatusCodeToString(result.status().code())));
                           })
                    .ok());
  }
  size_t queues() const { return core_->scheduler().state().queues.size(); }

  std::unique_ptr<base::Env> env_ = base::make_memory_env();
  base::ManualClock clock_;
  WatchedStore store_;
  std::unique_ptr<Executor> executor_ = make_inline_executor();
  std::unique_ptr<Core> core_;
  std::vector<std::string> answers_;
};

TEST_F(CoreTest, NothingIsAnsweredBeforeItIsDurable) {
  set_queue("a");
  bool told = false;
  ASSERT_TRUE(core_->watch(1, {.run = "nothing-1", .done = [&](const auto&) { told = true; }}).ok());
  store_.before_commit = [&] {
    EXPECT_THAT(answers_, IsEmpty());
    EXPECT_FALSE(told) << "nor is anything told that is not on disk";
    return absl::OkStatus();
  };
  ASSERT_TRUE(core_->turn().ok());
  EXPECT_THAT(answers_, ElementsAre("a: OK"));
  EXPECT_TRUE(told);
}

TEST_F(CoreTest, WhatArrivesDuringOneTransactionGoesIntoTheNextOne) {
  set_queue("first");
  store_.before_commit = [&] {
    if (store_.transactions.empty()) {  // while the first one is being written
      for (const char* name : {"a", "b", "c", "d"}) set_queue(name);
    }
    return absl::OkStatus();
  };
  ASSERT_TRUE(core_->turn().ok());
  EXPECT_THAT(answers_, ElementsAre("first: OK"));
  ASSERT_TRUE(core_->turn().ok());
  EXPECT_THAT(answers_, ElementsAre("first: OK", "a: OK", "b: OK", "c: OK", "d: OK"));
  EXPECT_THAT(store_.transactions, ElementsAre(2, 8)) << "each: what it changes, and that the request is done";
}

TEST_F(CoreTest, WhatCannotBeSavedIsNotAcknowledgedAndTheNextCoordinatorDoesNotKnowIt) {
  set_queue("kept");
  ASSERT_TRUE(core_->turn().ok());
  set_queue("lost");
  std::vector<std::string> seen;
  ASSERT_TRUE(core_->look([&](const View& view) { seen.push_back(view.ended.ok() ? "state" : "end"); }).ok());
  std::vector<std::string> watched;
  const auto on_page = [&](const StatusOr<WatchPage>& page) {
    watched.push_back(std::string(absl::StatusCodeToString(page.status().code())));
  };
  ASSERT_TRUE(core_->watch(2, {.run = "nothing-1", .done = on_page}).ok());
  store_.before_commit = [this] {
    set_queue("late");  // arrives while it fails
    return absl::ResourceExhaustedError("disk full");
  };
  const Status turned = core_->turn();
  EXPECT_EQ(turned.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(turned.message()), HasSubstr("the coordinator's state cannot be saved: disk full"));
  EXPECT_THAT(answers_, ElementsAre("kept: OK", "lost: UNAVAILABLE", "late: UNAVAILABLE"));
  EXPECT_THAT(seen, ElementsAre("end")) << "a call that is never answered keeps the server from ending";
  EXPECT_THAT(watched, ElementsAre("UNAVAILABLE"));
  EXPECT_EQ(core_->post(sched::TimerFired{}, nullptr).code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(core_->turn().ok()) << "it is at its end";
  store_.before_commit = [] { return absl::OkStatus(); };
  open();
  EXPECT_EQ(queues(), 1u);
  set_queue("lost");  // the caller tries again, with the same id
  ASSERT_TRUE(core_->turn().ok());
  EXPECT_EQ(queues(), 2u);
}

TEST_F(CoreTest, AFullInboxRefusesAndKeepsWhatMustNotBeLost) {
  core_ = std::make_unique<Core>(Core::Seams{*env_, clock_, store_, *executor_},
                                 CoreOptions{.store = "/store", .store_id = "s", .secret = "x", .inbox = 2});
  ASSERT_TRUE(core_->recover().ok());
  set_queue("a");
  set_queue("b");
  const Status refused = core_->post(sched::TimerFired{}, nullptr);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("too much to do just now: try again"));
  core_->drop_watch(7);  // has no limit: it makes room
  ASSERT_TRUE(core_->turn().ok());
  EXPECT_THAT(answers_, SizeIs(2));
}

// Agents outlive a state that was removed to start afresh: what they were told under the old one must be older.
TEST_F(CoreTest, ANewStateComesAfterTheOneThatWasRemoved) {
  for (int i = 0; i < 5; ++i) open();
  set_queue("a");
  ASSERT_TRUE(core_->turn().ok());
  const uint64_t last = core_->scheduler().state().last_epoch;
  clock_.advance_ms(1'000);
  WatchedStore fresh;
  Core after({*env_, clock_, fresh, *executor_}, {.store = "/store", .store_id = "s", .secret = "x"});
  ASSERT_TRUE(after.recover().ok());
  EXPECT_GT(after.scheduler().state().incarnation, last);
}

// Too many open files, a file server that does not answer: hours of work must not go for that.
TEST_F(CoreTest, AnArtifactThatCannotBeReadJustNowStays) {
  const std::string key(64, 'a'), folder = store::artifact_folder("/s", "plan", key);
  ASSERT_TRUE(env_->make_folders(folder).ok());
  ASSERT_TRUE(base::write_file_atomically(*env_, folder + "/plan.json", "{}").ok());
  const stages::Artifact artifact{"plan", key, {{"bits", 4}}, {{"plan.json", 2, ""}}};
  ASSERT_TRUE(stages::commit_artifact(*env_, folder, artifact).ok());
  const auto faulty = base::make_faulty_env(*env_, [](std::string_view operation, const std::string& path) {
    return operation == "read" ? absl::UnavailableError("too many open files: " + path) : absl::OkStatus();
  });
  int warnings = 0;
  const auto warn = [&](const std::string&) { ++warnings; };
  EXPECT_TRUE(absl::IsNotFound(find_artifact(*faulty, folder, key, warn).status()));
  const auto found = find_artifact(*env_, folder, key, warn);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, json({{"bits", 4}}));
  ASSERT_TRUE(base::write_file_atomically(*env_, folder + "/plan.json", "{ }").ok());
  EXPECT_TRUE(absl::IsNotFound(find_artifact(*env_, folder, key, warn).status()));
  EXPECT_FALSE(env_->exists(folder + "/plan.json")) << "what is damaged goes";
  EXPECT_EQ(warnings, 2);
}

// What is delivered as it is, nobody reads before: a flipped bit would go out with it.
TEST_F(CoreTest, AStoredCheckpointIsComparedWithItsDigests) {
  const std::string key(64, 'a'), folder = store::artifact_folder("/s", "quantize", key), file = folder + "/weights";
  const auto commit = [&](const json& summary) {
    ASSERT_TRUE(env_->make_folders(folder).ok());
    ASSERT_TRUE(base::write_file_atomically(*env_, file, "good").ok());
    const stages::Artifact artifact{"quantize", key, summary, {{"weights", 4, base::digest_of("good")}}};
    ASSERT_TRUE(stages::commit_artifact(*env_, folder, artifact).ok());
  };
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& message) { warnings.push_back(message); };
  commit({{"checkpoint", "checkpoint"}});
  EXPECT_TRUE(find_artifact(*env_, folder, key, warn).ok());
  ASSERT_TRUE(base::write_file_atomically(*env_, file, "goof").ok());
  EXPECT_TRUE(absl::IsNotFound(find_artifact(*env_, folder, key, warn).status()));
  EXPECT_THAT(warnings, ElementsAre(HasSubstr(file)));
  EXPECT_FALSE(env_->exists(file));
  commit({{"bits", 4}});
  ASSERT_TRUE(base::write_file_atomically(*env_, file, "goof").ok());
  EXPECT_TRUE(find_artifact(*env_, folder, key, warn).ok()) << "whoever reads it notices";
}

struct Later final : Executor {
  std::deque<std::function<void()>> waiting;
  void run(std::function<void()> work) override { waiting.push_back(std::move(work)); }
};

TEST_F(CoreTest, WhatWaitsForTheExecutorIsBounded) {
  Later executor;
  SubmitFlow flow(*core_, *env_, executor, {});
  const PipelineText file{"a.yaml", "kind: Pipeline", "/", {}};
  std::vector<absl::StatusCode> codes;
  for (int i = 0; i <= SubmitFlow::kMostAtOnce; ++i) {
    flow.validate(file, [&](const StatusOr<Checked>& checked) { codes.push_back(checked.status().code()); });
  }
  EXPECT_THAT(codes, ElementsAre(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(executor.waiting, SizeIs(SubmitFlow::kMostAtOnce));
  executor.waiting.front()();
  flow.validate(file, [](const auto&) {});
  EXPECT_THAT(executor.waiting, SizeIs(SubmitFlow::kMostAtOnce + 1)) << "there is room again";
  executor.waiting.clear();
  codes.clear();
  GarbageCalls garbage(*core_, *env_, executor);
  for (size_t i = 0; i <= GarbageCalls::kMostAtOnce; ++i) {
    garbage.collect("gc-" + std::to_string(i), {.workdir = "/w", .store = "/s"},
                    [&](const StatusOr<Garbage>& result) { codes.push_back(result.status().code()); });
  }
  EXPECT_THAT(codes, ElementsAre(absl::StatusCode::kResourceExhausted));
}

// As a worker that was started by hand, or by Slurm, holds it for hours; the folder itself changes only at its start.
TEST_F(CoreTest, GarbageCollectionLeavesWhatAWorkerIsMaking) {
  char folder[] = "/tmp/gridquant_gc_XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  base::Env& env = base::posix_env();
  const std::string root = folder;
  for (const char* name : {"plan-0123456789abcdef", "plan-fedcba9876543210"}) {
    ASSERT_TRUE(env.make_folders(root + "/artifacts/" + name).ok());
    ASSERT_TRUE(base::write_file_unsynced(env, root + "/artifacts/" + name + "/lock", "").ok());
  }
  const std::string task = root + "/artifacts/plan-0123456789abcdef.attempt-77.json";  // its agent was killed
  ASSERT_TRUE(base::write_file_unsynced(env, task, "{}").ok());
  const int lock = ::open((root + "/artifacts/plan-0123456789abcdef/lock").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(lock, LOCK_EX | LOCK_NB), 0);
  std::vector<std::string> removed;
  const auto collect = [&] {
    const GarbageOptions options{.workdir = root, .store = root, .min_age_ms = 0};
    collect_garbage(*core_, env, *executor_, options, [&](const StatusOr<Garbage>& garbage) {
      ASSERT_TRUE(garbage.ok()) << garbage.status();
      removed = garbage->removed;
    });
    ASSERT_TRUE(core_->turn().ok());
  };
  collect();
  EXPECT_THAT(removed, ElementsAre("artifacts/plan-fedcba9876543210"));
  EXPECT_FALSE(env.exists(task));
  ::close(lock);
  collect();
  EXPECT_THAT(removed, ElementsAre("artifacts/plan-0123456789abcdef"));
  EXPECT_TRUE(env.remove_tree(root).ok());
}

TEST(DeliveryLinesTest, OneAtATimeIntoOneFolder) {
  Later executor;
  DeliveryLines lines(executor);
  std::vector<std::string> done;
  for (const char* name : {"/out/a", "/out/./a", "/out/b"}) {
    lines.add(name, [&done, name] { done.emplace_back(name); });
  }
  ASSERT_THAT(executor.waiting, SizeIs(2)) << "the second one for a waits";
  while (!executor.waiting.empty()) {
    const auto work = std::move(executor.waiting.front());
    executor.waiting.pop_front();
    work();
  }
  EXPECT_THAT(done, ElementsAre("/out/a", "/out/b", "/out/./a"));
}

TEST_F(CoreTest, EveryStartIsAnIncarnationOfItsOwn) {
  const uint64_t first = core_->scheduler().state().incarnation;
  open();
  const uint64_t second = core_->scheduler().state().incarnation;
  EXPECT_GT(first, 0u);
  EXPECT_GT(second, first);
  open();
  EXPECT_GT(core_->scheduler().state().incarnation, second);
}

}  // namespace
}  // namespace gridquant::control
