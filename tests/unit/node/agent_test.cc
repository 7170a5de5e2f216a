// The agent without a network and without processes: what it starts, says and cleans up.
#include "node/daemon/agent.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "node/launch/memory_launcher.h"
#include "stages/task.h"
#include "stages/warnings.h"

namespace gridquant::node {
namespace {

using nlohmann::json;
using sched::Phase;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

class Coordinator final : public Uplink {
 public:
  void send(const sched::NodeReport& report) override { last = report; }
  void send(LogPiece piece) override { log += piece.data, pieces.push_back(std::move(piece)); }
  void send(AttemptProgress progress) override { progresses.push_back(std::move(progress)); }
  sched::NodeReport last;
  std::string log;
  std::vector<LogPiece> pieces;
  std::vector<AttemptProgress> progresses;
};

class Caller final : public DaemonCall {
 public:
  void refused(const Status& status) override { refusal = status; }
  void started(int64_t process) override { pid = process; }
  void output(std::string bytes) override { text += bytes; }
  void ended(int code) override { exit_code = code; }
  Status refusal;
  int64_t pid = 0;
  std::string text;
  int exit_code = -1;
};

class AgentTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "agent-" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ + "/shm");
    std::filesystem::create_directories(folder_ + "/artifacts");
    write_store_id("ours");
    files_.emplace(*NodeFiles::open(env_, folder_ + "/node"));
    AgentOptions options;
    options.node = "b";
    options.worker = "/bin/worker";
    options.inventory.cores = 4;
    options.shared_memory = folder_ + "/shm";
    options.watch = {.silence_ms = 5'000, .start_ms = 20'000};
    agent_.emplace(Agent::Seams{env_, clock_, launcher_, inbox_, coordinator_, *files_}, options);
  }
  void TearDown() override {
    agent_.reset();
    files_.reset();
    std::filesystem::remove_all(folder_);
  }

  sched::DesiredAttempt attempt(uint64_t epoch, bool head = true) const {
    sched::DesiredAttempt desired{.epoch = epoch, .run = "r", .stage = "plan", .key = "k"};
    desired.head = head;
    return desired;
  }
  bool desire(std::vector<sched::DesiredAttempt> attempts, std::vector<std::string> addresses = {}) {
    Desired message;
    message.state = {.node = "b", .boot = files_->boot(), .session = 3, .revision = {1, ++revision_}};
    for (const sched::DesiredAttempt& one : attempts) {
      AttemptTask task{.log_name = "r/plan/attempt-1", .addresses = addresses, .secret = "very-secret"};
      task.store = folder_;
      task.store_id = "ours";
      const json text = {{"artifact", artifact()}, {"key", "k"}, {"inputs", {{"analyze", folder_ + "/none"}}}};
      task.task_json = text.dump();
      message.tasks[one.epoch] = task;
    }
    message.state.attempts = std::move(attempts);
    inbox_.push(std::move(message));
    return agent_->turn(0);
  }
  std::string artifact() const { return folder_ + "/artifacts/plan-k"; }
  void write_store_id(const std::string& id) {
    ASSERT_TRUE(base::write_file_atomically(env_, folder_ + "/artifacts/.store-id", id).ok());
  }
  void turn(int64_t pass_ms = 0) {
    clock_.advance_ms(pass_ms);
    agent_->turn(0);
  }
  const sched::AttemptReport* report(uint64_t epoch) const {
    for (const auto& one : coordinator_.last.attempts) {
      if (one.epoch == epoch) return &one;
    }
    return nullptr;
  }
  std::shared_ptr<Caller> ask_for_daemon(uint64_t epoch, const std::string& secret,
                                         std::vector<std::string> arguments = {"-mca", "ess", "env"}) {
    const auto caller = std::make_shared<Caller>();
    inbox_.push(DaemonRequested{epoch, secret, std::move(arguments), {}, caller});
    turn();
    return caller;
  }

  std::string folder_;
  base::Env& env_ = base::posix_env();
  base::ManualClock clock_;
  MemoryLauncher launcher_;
  Inbox inbox_;
  Coordinator coordinator_;
  std::optional<NodeFiles> files_;
  std::optional<Agent> agent_;
  uint64_t revision_ = 0;
};

TEST_F(AgentTest, OneRankFromTaskToSummary) {
  desire({attempt(5)});
  ASSERT_EQ(launcher_.running().count(5), 1u);
  const LaunchSpec spec = launcher_.running().at(5);
  ASSERT_EQ(spec.argv.size(), 3u);
  EXPECT_EQ(spec.argv[0], "/bin/worker");
  EXPECT_TRUE(env_.exists(spec.argv[2])) << "the task file";
  EXPECT_EQ(spec.mark, files_->mark(5));
  EXPECT_EQ(report(5)->phase, Phase::kRunning);
  launcher_.print(5, R"({"event":"progress","done":3,"total":6,"unit":"block","message":"m"})");
  launcher_.print(5, R"({"event":"warning","message":"w"})");
  launcher_.print(5, "a library's line");
  turn();
  ASSERT_EQ(coordinator_.progresses.size(), 2u);
  EXPECT_EQ(coordinator_.progresses[0].event.done, 3);
  EXPECT_THAT(launcher_.log(), ElementsAre("warning: w", "a library's line"));
  ASSERT_TRUE(stages::commit_artifact(env_, artifact(), {"plan", "k", {{"bits", 4}}, {}}).ok());
  launcher_.exit(5, 0);
  turn();
  ASSERT_NE(report(5), nullptr);
  EXPECT_EQ(report(5)->phase, Phase::kFinished);
  EXPECT_EQ(report(5)->exit_code, 0);
  EXPECT_EQ(report(5)->summary, json({{"bits", 4}}));
  EXPECT_THAT(stages::recall_warnings(env_, artifact()), ElementsAre("w"));
  desire({});
  turn(1'000);
  EXPECT_EQ(report(5), nullptr) << "its end is on the coordinator's disk";
  ASSERT_FALSE(coordinator_.pieces.empty());
  EXPECT_TRUE(coordinator_.pieces.back().last);
  EXPECT_TRUE(env_.exists(files_->attempt_folder(5))) << "its log is not with the coordinator yet";
  inbox_.push(LogAcknowledged{5, coordinator_.log.size()});
  turn();
  EXPECT_FALSE(env_.exists(files_->attempt_folder(5)));
}

TEST_F(AgentTest, ExitCodeZeroWithoutAResultIsAFailure) {
  desire({attempt(5)});
  launcher_.exit(5, 0);
  turn();
  EXPECT_EQ(report(5)->exit_code, static_cast<int>(ExitCode::kInvariant));
  EXPECT_THAT(report(5)->message, HasSubstr("result is not there"));
}

TEST_F(AgentTest, CorruptInputsAreNamed) {
  desire({attempt(5)});
  launcher_.print(5, R"({"event":"error","code":"DataLoss","message":"digest differs"})");
  launcher_.exit(5, static_cast<int>(ExitCode::kCorruption));
  for (int i = 0; i < 1'000 && report(5)->phase != Phase::kFinished; ++i) {
    turn();
    ::usleep(1'000);
  }
  EXPECT_EQ(report(5)->exit_code, static_cast<int>(ExitCode::kCorruption));
  EXPECT_EQ(report(5)->message, "digest differs");
  EXPECT_THAT(report(5)->corrupt_inputs, ElementsAre("analyze"));
}

TEST_F(AgentTest, ATaskOfAnotherAttemptIsNotStarted) {
  sched::DesiredAttempt wrong = attempt(5);
  wrong.key = "another";
  desire({wrong});
  EXPECT_THAT(launcher_.running(), IsEmpty());
  EXPECT_EQ(report(5)->phase, Phase::kFinished);
  EXPECT_THAT(report(5)->message, HasSubstr("not one of this attempt"));
}

TEST_F(AgentTest, WhatCannotBeStartedLeavesNoFolder) {
  sched::DesiredAttempt wrong = attempt(5);
  wrong.key = "another";
  launcher_.fail_next_start(absl::UnavailableError("no such program"));
  desire({wrong, attempt(6)});
  ASSERT_THAT(launcher_.running(), IsEmpty());
  EXPECT_THAT(report(6)->message, HasSubstr("no such program"));
  turn(1'000);
  ASSERT_FALSE(coordinator_.pieces.empty());
  EXPECT_TRUE(coordinator_.pieces.back().last) << "an empty log";
  inbox_.push(LogAcknowledged{6, 0});
  desire({});
  turn();
  EXPECT_THAT(files_->attempts(), IsEmpty());
}

TEST_F(AgentTest, AGangIsStartedByMpirunWithATaskFileThatAllNodesSee) {
  sched::DesiredAttempt gang = attempt(5);
  gang.hosts = {{"b", 1}, {"c", 2}};
  desire({gang}, {"here:1", "there:2"});
  ASSERT_EQ(launcher_.running().count(5), 1u);
  const LaunchSpec spec = launcher_.running().at(5);
  EXPECT_THAT(spec.argv, Contains("localhost:1,gq1:2"));
  EXPECT_THAT(spec.argv.back(), HasSubstr(artifact() + ".attempt-5.json"));
  EXPECT_THAT(spec.env, Contains(HasSubstr(R"("address":"there:2","node":"c")")));
  EXPECT_FALSE(std::filesystem::is_empty(folder_ + "/shm"));
  launcher_.exit(5, 11);  // mpirun's own code: no rank said anything
  turn();
  EXPECT_EQ(report(5)->exit_code, static_cast<int>(ExitCode::kPeerLost));
  EXPECT_FALSE(env_.exists(artifact() + ".attempt-5.json"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ + "/shm"));
}

TEST_F(AgentTest, TheRankThatFailedByItselfIsBelieved) {
  sched::DesiredAttempt gang = attempt(5);
  gang.ranks = 2;
  desire({gang});
  launcher_.print(5, R"({"event":"error","code":"Aborted","message":"a peer is lost"})");
  launcher_.print(5, R"({"event":"error","rank":1,"code":"InvalidArgument","message":"no such text"})");
  launcher_.exit(5, 11);
  turn();
  EXPECT_EQ(report(5)->exit_code, 11);
  EXPECT_EQ(report(5)->message, "rank 1: no such text");
}

TEST_F(AgentTest, ADaemonNeedsALiveLeaseItsSecretAndOrted) {
  EXPECT_EQ(ask_for_daemon(5, "very-secret")->refusal.code(), absl::StatusCode::kPermissionDenied);
  desire({attempt(5, false), attempt(6)});
  EXPECT_FALSE(ask_for_daemon(5, "wrong")->refusal.ok());
  EXPECT_FALSE(ask_for_daemon(5, "")->refusal.ok());
  EXPECT_FALSE(ask_for_daemon(6, "very-secret")->refusal.ok()) << "the head runs mpirun, no daemon";
  EXPECT_FALSE(ask_for_daemon(5, "very-secret", {"--daemonize"})->refusal.ok());
  EXPECT_EQ(launcher_.running().count(5), 0u);
  const auto caller = ask_for_daemon(5, "very-secret");
  ASSERT_TRUE(caller->refusal.ok()) << caller->refusal;
  EXPECT_EQ(launcher_.running().at(5).argv[0], "/usr/bin/orted");
  EXPECT_NE(caller->pid, 0);
  EXPECT_FALSE(ask_for_daemon(5, "very-secret")->refusal.ok()) << "one daemon per lease";
  launcher_.print(5, "hello");
  launcher_.exit(5, 1);
  turn();
  EXPECT_EQ(caller->text, "hello\n");
  EXPECT_EQ(caller->exit_code, 1);
  EXPECT_EQ(report(5)->phase, Phase::kRunning) << "the gang's end is the head's matter";
  desire({attempt(6)});
  turn(1'000);
  desire({attempt(6)});
  turn(1'000);
  EXPECT_EQ(report(5), nullptr);
}

TEST_F(AgentTest, AMemberIsFreeWhenItsDaemonIsGone) {
  desire({attempt(5, false)});
  const auto caller = ask_for_daemon(5, "very-secret");
  sched::DesiredAttempt stopping = attempt(5, false);
  stopping.stopping = "cancelled";
  stopping.grace_ms = 3'000;
  desire({stopping});
  turn(1'000);
  EXPECT_EQ(report(5)->phase, Phase::kStopping);
  EXPECT_THAT(launcher_.signals(), IsEmpty()) << "mpirun ends it in order";
  EXPECT_FALSE(ask_for_daemon(5, "very-secret")->refusal.ok());
  turn(2'100);
  turn();
  EXPECT_THAT(launcher_.signals(), ElementsAre(Pair(5, Signal::kKill)));
  EXPECT_EQ(report(5)->phase, Phase::kStopping);
  launcher_.exit(5, 137);
  turn();
  EXPECT_EQ(report(5)->phase, Phase::kFinished);
  EXPECT_EQ(report(5)->exit_code, 0);
}

TEST_F(AgentTest, ADaemonWhoseCallerIsGoneIsKilled) {
  desire({attempt(5, false)});
  const auto caller = ask_for_daemon(5, "very-secret");
  inbox_.push(DaemonAbandoned{caller});
  turn();
  EXPECT_THAT(launcher_.signals(), ElementsAre(Pair(5, Signal::kKill)));
}

TEST_F(AgentTest, ARankWithoutASignOfLifeEndsTheGangAndIsNamed) {
  sched::DesiredAttempt gang = attempt(5);
  gang.hosts = {{"b", 1}, {"c", 1}};
  desire({gang}, {"here:1", "there:2"});
  const auto beat = [&](int rank) {
    launcher_.print(5, absl::StrCat(R"({"event":"heartbeat","progress":1,"rank":)", rank, "}"));
  };
  beat(1);
  for (int second = 0; second < 7; ++second) {
    beat(0);
    turn(1'000);
  }
  EXPECT_THAT(launcher_.signals(), Contains(Pair(5, Signal::kKill)));
  launcher_.exit(5, 137);
  turn();
  EXPECT_EQ(report(5)->exit_code, static_cast<int>(ExitCode::kPeerLost));
  EXPECT_EQ(report(5)->message, "rank 1 on node c has shown no sign of life for 5 s");
}

TEST_F(AgentTest, ARankThatNeverStartsIsNamed) {
  sched::DesiredAttempt gang = attempt(5);
  gang.hosts = {{"b", 2}};
  gang.ranks = 2;
  desire({gang}, {"here:1"});
  for (int second = 0; second < 22; ++second) {
    launcher_.print(5, R"({"event":"heartbeat","progress":1,"rank":0})");
    turn(1'000);
  }
  launcher_.exit(5, 137);
  turn();
  EXPECT_EQ(report(5)->message, "rank 1 on node b has not started within 20 s");
}

TEST_F(AgentTest, WhereTheStoreIsNotSeenNothingStarts) {
  write_store_id("of another cluster");
  desire({attempt(5)});
  EXPECT_EQ(launcher_.running().count(5), 0u);
  ASSERT_NE(report(5), nullptr);
  EXPECT_EQ(report(5)->phase, Phase::kFinished);
  EXPECT_EQ(failure_class_for(report(5)->exit_code), FailureClass::kInfrastructure);
  EXPECT_THAT(report(5)->message, HasSubstr("node b does not see the coordinator's store under " + folder_));
  EXPECT_THAT(report(5)->message, HasSubstr("is of another one"));
  std::filesystem::remove(folder_ + "/artifacts/.store-id");
  desire({attempt(6, /*head=*/false)});
  const auto caller = ask_for_daemon(6, "very-secret");
  EXPECT_EQ(caller->refusal.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(caller->refusal.message()), HasSubstr("--store DIR"));
}

TEST_F(AgentTest, OneRankThatHangsIsNoticedOnceItHasShownASign) {
  desire({attempt(5)});
  turn(60'000);
  EXPECT_THAT(launcher_.signals(), IsEmpty());
  launcher_.print(5, R"({"event":"heartbeat","progress":1,"rank":0})");
  turn();
  turn(4'000);
  EXPECT_THAT(launcher_.signals(), IsEmpty());
  turn(1'500);
  EXPECT_THAT(launcher_.signals(), Contains(Pair(5, Signal::kKill)));
}

TEST_F(AgentTest, AskedToEndItStopsWhatRunsAndStartsNothing) {
  desire({attempt(5)});
  agent_->shut_down();
  EXPECT_THAT(launcher_.signals(), ElementsAre(Pair(5, Signal::kTerminate)));
  EXPECT_TRUE(desire({attempt(5), attempt(6)})) << "5 still runs";
  EXPECT_EQ(launcher_.running().count(6), 0u);
  launcher_.exit(5, static_cast<int>(ExitCode::kCancelled));
  turn();
  EXPECT_EQ(report(5)->phase, Phase::kFinished);
  clock_.advance_ms(3'000);
  EXPECT_FALSE(agent_->turn(0));
}

TEST_F(AgentTest, DisplacedByAnotherAgentItEndsAllAndSaysSo) {
  desire({attempt(5)});
  inbox_.push(Displaced{"another agent has this node's place"});
  turn();
  EXPECT_THAT(launcher_.signals(), ElementsAre(Pair(5, Signal::kKill)));
  launcher_.exit(5, 137);
  EXPECT_FALSE(agent_->turn(0));
  EXPECT_THAT(std::string(agent_->displaced().message()), HasSubstr("another agent"));
}

}  // namespace
}  // namespace gridquant::node
