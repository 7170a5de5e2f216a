// Real agents (`gridquant node`), real mpirun and orted, several pseudo-nodes on this machine; the workers are shell
// scripts. What is checked at every end: nothing that carries a node's mark is left.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "engine/base/env.h"
#include "node/launch/launcher.h"
#include "node/launch/marked.h"
#include "stages/task.h"
#include "tests/unit/node/test_coordinator.h"

namespace gridquant::node {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kMaxLooks = 3'000;  // of 10 ms
// Says its rank in a file, shows a sign of life, and does what the file `script` says.
constexpr const char* kWorker = R"(#!/bin/sh
rank=${OMPI_COMM_WORLD_RANK:-0}
echo $$ > @/pid-$rank
( n=0
while :; do n=$((n+1))
echo "{\"event\":\"heartbeat\",\"rank\":$rank,\"progress\":$n}"; sleep 0.2; kill -0 $$ || exit; done ) &
. @/script
)";

class RealAgentsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "real-agents-", ::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ + "/artifacts");
    write("artifacts/.store-id", "of-the-test");
    std::string text = kWorker;
    for (size_t at; (at = text.find('@')) != std::string::npos;) text.replace(at, 1, folder_);
    write("worker", text);
    std::filesystem::permissions(folder_ + "/worker", std::filesystem::perms::owner_all);
  }
  void TearDown() override {
    launcher_.reset();
    for (int i = 0; i < kMaxLooks && !left().empty(); ++i) ::usleep(10'000);
    EXPECT_THAT(left(), IsEmpty()) << "processes are left";
    std::filesystem::remove_all(folder_);
  }

  void write(const std::string& name, const std::string& content) { std::ofstream(folder_ + "/" + name) << content; }
  std::string read(const std::string& name) const {
    std::ifstream file(folder_ + "/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  pid_t start_node(const std::string& name) {
    const std::string log = folder_ + "/" + name + ".log";
    LaunchSpec spec{.argv = {std::string(GRIDQUANT_BIN_DIR) + "/gridquant",
                             "node",
                             "--coordinator",
                             absl::StrCat("127.0.0.1:", coordinator_->port()),
                             "--workdir",
                             folder_ + "/" + name,
                             "--name",
                             name,
                             "--cores",
                             "2",
                             "--worker",
                             folder_ + "/worker",
                             "--heartbeat-ms",
                             "50",
                             "--rank-silence-ms",
                             "2000",
                             "--rank-start-ms",
                             "20000",
                             "--mpi-interfaces",
                             "lo"},
                    .log_path = log};
    const auto pid = launcher_->start(++processes_, spec);
    EXPECT_TRUE(pid.ok()) << pid.status();
    ids_[name] = processes_;
    EXPECT_TRUE(until([&] { return coordinator_->report(name).has_value(); })) << read(name + ".log");
    return static_cast<pid_t>(pid.value_or(-1));
  }

  v1::DesiredAttempt attempt(uint64_t epoch, const std::vector<std::pair<std::string, int>>& hosts) const {
    v1::DesiredAttempt desired;
    desired.set_epoch(epoch);
    desired.set_run("r");
    desired.set_stage("s");
    desired.set_key("k");
    desired.set_number(1);
    desired.set_head(true);
    desired.set_ranks(hosts[0].second);
    desired.set_lease_secret("0123456789abcdef");
    desired.set_log_name("r/s/attempt-1");
    desired.set_store(folder_);
    desired.set_store_id("of-the-test");
    desired.set_task_json(json({{"artifact", artifact()}, {"key", "k"}, {"inputs", json::object()}}).dump());
    for (const auto& [node, ranks] : hosts) {
      v1::GangHost& host = *desired.add_hosts();
      host.set_node(node);
      host.set_ranks(ranks);
      host.set_agent_address(coordinator_->report(node)->inventory().agent_address());
    }
    return desired;
  }
  void run(uint64_t epoch, const std::vector<std::pair<std::string, int>>& hosts, const std::string& stopping = "") {
    for (size_t i = 0; i < hosts.size(); ++i) {
      v1::DesiredAttempt desired = attempt(epoch, hosts);
      desired.set_stopping(stopping);
      desired.set_grace_ms(stopping.empty() ? 0 : 2'000);
      if (i > 0) {
        desired.set_head(false);
        desired.set_ranks(hosts[i].second);
        desired.clear_hosts();
        desired.clear_task_json();
      }
      coordinator_->desire(hosts[i].first, {desired});
    }
  }
  std::string artifact() const { return folder_ + "/artifacts/s-k"; }
  std::string make_artifact() const {
    return absl::StrCat("if [ $rank = 0 ]; then cp ", folder_, "/artifact.json ", artifact(), "/artifact.json; fi\n");
  }
  void prepare_artifact() {
    ASSERT_TRUE(stages::commit_artifact(base::posix_env(), folder_, {"s", "k", {{"x", 1}}, {}}).ok());
  }

  template <typename Condition>
  bool until(const Condition& condition) {
    for (int i = 0; i < kMaxLooks; ++i) {
      if (condition()) return true;
      launcher_->wait(10, -1);
    }
    return false;
  }
  bool finished(const std::string& node, uint64_t epoch) {
    return until([&] {
      const auto report = coordinator_->attempt(node, epoch);
      return report && report->phase() == v1::PHASE_FINISHED;
    });
  }
  bool ranks_run(int count) {
    return until([&] {
      for (int rank = 0; rank < count; ++rank) {
        if (read(absl::StrCat("pid-", rank)).empty()) return false;
      }
      return true;
    });
  }
  pid_t pid_of_rank(int rank) const { return std::stoi(read(absl::StrCat("pid-", rank))); }
  std::vector<std::string> left() const {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const std::string id = read(entry.path().filename().string() + "/id");
      if (id.empty()) continue;
      for (const std::string& mark : marks_in_use(id)) all.push_back(mark);
    }
    return all;
  }

  std::string folder_;
  std::unique_ptr<TestCoordinator> coordinator_ = std::make_unique<TestCoordinator>();
  std::unique_ptr<Launcher> launcher_ = make_posix_launcher();
  std::map<std::string, uint64_t> ids_;
  uint64_t processes_ = 0;
};

TEST_F(RealAgentsTest, OneRankItsLogItsProgressAndItsEnd) {
  write("script", "echo '{\"event\":\"progress\",\"done\":1,\"total\":2}'; echo loud >&2; " + make_artifact());
  prepare_artifact();
  start_node("a");
  run(1, {{"a", 1}});
  ASSERT_TRUE(finished("a", 1)) << read("a.log");
  EXPECT_EQ(coordinator_->attempt("a", 1)->exit_code(), 0) << coordinator_->attempt("a", 1)->message();
  EXPECT_EQ(coordinator_->attempt("a", 1)->summary_json(), "{\"x\":1}");
  EXPECT_TRUE(until([&] { return coordinator_->log(1) == "loud\n"; })) << coordinator_->log(1);
  EXPECT_TRUE(until([&] { return coordinator_->progresses() == 1; }));
  coordinator_->desire("a", {});
  EXPECT_TRUE(until([&] { return !coordinator_->attempt("a", 1).has_value(); }));
  EXPECT_TRUE(until([&] { return std::filesystem::is_empty(folder_ + "/a/attempts"); }));
}

TEST_F(RealAgentsTest, ADesiredStateOfManyMegabytesArrives) {
  write("script", make_artifact());
  prepare_artifact();
  start_node("a");
  v1::DesiredAttempt desired = attempt(5, {{"a", 1}});
  desired.set_task_json(desired.task_json() + std::string(8 << 20, ' '));
  coordinator_->desire("a", {desired});
  ASSERT_TRUE(finished("a", 5));
  EXPECT_EQ(coordinator_->attempt("a", 5)->exit_code(), 0);
}

TEST_F(RealAgentsTest, RanksOfOneNodeAndOfTwo) {
  prepare_artifact();
  write("script", "echo x > " + folder_ + "/ran-$rank-$OMPI_COMM_WORLD_SIZE; " + make_artifact());
  start_node("a");
  start_node("b");
  run(1, {{"a", 2}});
  ASSERT_TRUE(finished("a", 1)) << read("a.log");
  EXPECT_EQ(coordinator_->attempt("a", 1)->exit_code(), 0) << coordinator_->attempt("a", 1)->message();
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/ran-1-2"));
  run(2, {{"a", 1}, {"b", 2}});
  ASSERT_TRUE(finished("a", 2)) << read("a.log") << read("b.log");
  EXPECT_EQ(coordinator_->attempt("a", 2)->exit_code(), 0)
      << coordinator_->attempt("a", 2)->message() << coordinator_->log(2) << read("b.log");
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/ran-0-3"));
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/ran-2-3"));
  coordinator_->desire("b", {});
  EXPECT_TRUE(until([&] { return !coordinator_->attempt("b", 2).has_value(); }));
  EXPECT_TRUE(until([&] { return left().empty(); }));
}

TEST_F(RealAgentsTest, ACancelledGangLeavesNothingOnAnyNode) {
  write("script", "trap '' TERM; while :; do sleep 0.1; done");
  start_node("a");
  start_node("b");
  run(1, {{"a", 1}, {"b", 1}});
  ASSERT_TRUE(ranks_run(2)) << read("a.log") << read("b.log");
  run(1, {{"a", 1}, {"b", 1}}, "cancelled");
  EXPECT_TRUE(finished("a", 1));
  EXPECT_TRUE(finished("b", 1));
  EXPECT_THAT(left(), IsEmpty()) << "what is reported as finished is gone";
}

TEST_F(RealAgentsTest, AKilledRankEndsTheGang) {
  write("script", "while :; do sleep 0.1; done");
  start_node("a");
  start_node("b");
  run(1, {{"a", 1}, {"b", 1}});
  ASSERT_TRUE(ranks_run(2));
  ::kill(pid_of_rank(1), SIGKILL);
  ASSERT_TRUE(finished("a", 1));
  EXPECT_GE(coordinator_->attempt("a", 1)->exit_code(), 128) << "infrastructure";
}

TEST_F(RealAgentsTest, AStoppedRankIsNoticedAndNamed) {
  write("script", "while :; do sleep 0.1; done");
  start_node("a");
  start_node("b");
  run(1, {{"a", 1}, {"b", 1}});
  ASSERT_TRUE(ranks_run(2));
  ::usleep(1'000'000);                          // its first sign of life
  ::kill(-::getpgid(pid_of_rank(1)), SIGSTOP);  // with what shows its sign of life
  ASSERT_TRUE(finished("a", 1)) << read("a.log");
  EXPECT_EQ(coordinator_->attempt("a", 1)->message(), "rank 1 on node b has shown no sign of life for 2 s");
  EXPECT_EQ(coordinator_->attempt("a", 1)->exit_code(), 133);
  coordinator_->desire("b", {});
  EXPECT_TRUE(until([&] { return left().empty(); })) << "the stopped rank is gone too";
}

TEST_F(RealAgentsTest, AKilledAgentTakesItsRanksWithItAndTheNextOneLooks) {
  write("script", "while :; do sleep 0.1; done");
  start_node("a");
  const pid_t b = start_node("b");
  run(1, {{"a", 1}, {"b", 1}});
  ASSERT_TRUE(ranks_run(2));
  ::kill(b, SIGKILL);
  ASSERT_TRUE(finished("a", 1));
  EXPECT_GE(coordinator_->attempt("a", 1)->exit_code(), 128);
  coordinator_->desire("b", {});
  start_node("b");
  ASSERT_TRUE(until([&] { return coordinator_->report("b")->boot() == 2; }));
  EXPECT_TRUE(until([&] { return coordinator_->report("b")->attempts_size() == 0 && left().empty(); }))
      << left().size();
}

TEST_F(RealAgentsTest, ACoordinatorThatComesBackFindsWhatWentOn) {
  prepare_artifact();
  write("script", "while [ ! -e " + folder_ + "/go ]; do sleep 0.05; done; echo done >&2; " + make_artifact());
  start_node("a");
  run(1, {{"a", 1}});
  ASSERT_TRUE(ranks_run(1));
  const int port = coordinator_->port();
  coordinator_.reset();
  write("go", "now");
  ::usleep(300'000);
  coordinator_ = std::make_unique<TestCoordinator>(port);
  ASSERT_TRUE(finished("a", 1)) << read("a.log");
  EXPECT_EQ(coordinator_->attempt("a", 1)->exit_code(), 0) << coordinator_->attempt("a", 1)->message();
  EXPECT_TRUE(until([&] { return coordinator_->log(1) == "done\n"; }));
}

TEST_F(RealAgentsTest, AskedToStopOrSentAwayItEndsWithAllThatRuns) {
  write("script", "while :; do sleep 0.1; done");
  const pid_t a = start_node("a");
  run(1, {{"a", 1}});
  ASSERT_TRUE(ranks_run(1));
  ::kill(a, SIGTERM);
  bool exited = false;
  for (int i = 0; i < kMaxLooks && !exited; ++i) {
    for (const ProcessEvent& event : launcher_->wait(10, -1)) exited |= event.kind == ProcessEvent::Kind::kExited;
  }
  EXPECT_TRUE(exited);
  EXPECT_THAT(left(), IsEmpty());
  start_node("b");
  coordinator_->refuse("another agent has this node's place");
  exited = false;
  for (int i = 0; i < kMaxLooks && !exited; ++i) {
    for (const ProcessEvent& event : launcher_->wait(10, -1)) {
      if (event.kind != ProcessEvent::Kind::kExited) continue;
      exited = true;
      EXPECT_EQ(event.exit_code, 1);
    }
  }
  EXPECT_TRUE(exited);
  EXPECT_THAT(read("b.log"), HasSubstr("another agent"));
}

}  // namespace
}  // namespace gridquant::node
