// gridquant run, end to end, with a worker that does as it is told.
#include <set>

#include "tests/unit/cli/cli_fixture.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST_F(CliTest, ASuccessfulRunLeavesCheckpointAndReport) {
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("run small-1 succeeded"));
  EXPECT_THAT(outcome.err, HasSubstr("warning: the model is made up"));
  EXPECT_EQ(made().size(), 15u);
  for (const auto& [block, count] : made()) EXPECT_EQ(count, 1) << block;
  EXPECT_TRUE(exists("out/checkpoint/block-2"));
  EXPECT_FALSE(exists("out/checkpoint/artifact.json"));
  EXPECT_FALSE(exists("out/.checkpoint.partial"));
  EXPECT_THAT(read("out/report.html"), HasSubstr("<html"));
  const json report = read_json("out/report.json");
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report["format"], 1);
  EXPECT_EQ(report["run"], "small-1");
  EXPECT_EQ(report["quantize"]["bytes"], 1234);
  EXPECT_EQ(report["params"]["bits"], 4);
  EXPECT_EQ(report["stages"].size(), 5u);
  EXPECT_EQ(report["warnings"], json({"analyze: the model is made up"}));
  const json view = get();
  EXPECT_EQ(view["state"], "succeeded");
  EXPECT_EQ(stage_of(view, "quantize")["attempts"][0]["outcome"], "succeeded");
}

TEST_F(CliTest, ASecondRunIsCachedWholly) {
  ASSERT_EQ(run().exit_code, 0);
  const std::string checkpoint = read("out/checkpoint/block-0");
  std::filesystem::remove_all(root_ + "/out");
  const Outcome again = run();
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(made().size(), 15u);
  for (const auto& [block, count] : made()) EXPECT_EQ(count, 1) << block;
  EXPECT_THAT(again.err, HasSubstr("quantize   cached"));
  EXPECT_EQ(read("out/checkpoint/block-0"), checkpoint);
  EXPECT_EQ(read_json("out/report.json")["warnings"].size(), 1u) << "warnings of a cached stage are kept";
  EXPECT_THAT(gridquant({"explain", "small-2", "plan"}).out, HasSubstr("cached: a stored result has the same key"));
}

// A coordinator has worked in the folder: one of its runs has left logs.
TEST_F(CliTest, AnIdIsNotGivenTwice) {
  std::filesystem::create_directories(root_ + "/.gridquant/runs/small-3/analyze");
  std::filesystem::create_directories(root_ + "/.gridquant/runs/other-9");
  EXPECT_THAT(run().err, HasSubstr("run small-4 succeeded"));
  EXPECT_THAT(run().err, HasSubstr("run small-5 succeeded"));
}

TEST_F(CliTest, OnlyWhatFollowsFromAChangeIsMadeAgain) {
  ASSERT_EQ(run().exit_code, 0);
  const Outcome outcome = run({"-p", "bits=3"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const json view = get("small-2");
  EXPECT_TRUE(stage_of(view, "analyze")["cached"]);
  EXPECT_TRUE(stage_of(view, "calibrate")["cached"]);
  EXPECT_FALSE(stage_of(view, "plan")["cached"]);
  EXPECT_FALSE(stage_of(view, "validate")["cached"]);
  EXPECT_THAT(gridquant({"explain", "small-2", "plan"}).out, HasSubstr("with.bits: 4 -> 3"));
}

TEST_F(CliTest, WithoutCacheEverythingIsMadeAgain) {
  ASSERT_EQ(run().exit_code, 0);
  EXPECT_EQ(run({"--no-cache"}).exit_code, 0);
  for (const auto& [block, count] : made()) EXPECT_EQ(count, 2) << block;
}

TEST_F(CliTest, ADamagedStoredResultIsMadeAgain) {
  ASSERT_EQ(run().exit_code, 0);
  const std::string artifact = stage_of(get(), "plan")["artifact"];
  std::filesystem::resize_file(artifact + "/checkpoint/block-1", 3);
  const Outcome again = run();
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("damaged"));
  EXPECT_EQ(made()["plan checkpoint/block-1"], 2);
  EXPECT_EQ(made()["calibrate checkpoint/block-1"], 1);
}

TEST_F(CliTest, APermanentFailureIsShownAndNotRetried) {
  script("quantize", "exit 11 InvalidArgument group size 128 does not divide 576\n");
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("failed: group size 128 does not divide 576"));
  EXPECT_FALSE(exists("out/checkpoint"));
  EXPECT_FALSE(exists("out/report.json"));
  const json view = get();
  EXPECT_EQ(view["state"], "failed");
  EXPECT_EQ(stage_of(view, "quantize")["attempts"].size(), 1u);
  EXPECT_EQ(stage_of(view, "validate")["state"], "skipped");
  const std::string explained = gridquant({"explain"}).out;
  EXPECT_THAT(explained, HasSubstr("exit code 11, InvalidArgument): group size 128"));
  EXPECT_THAT(explained, HasSubstr("what to do: A parameter"));
  EXPECT_THAT(explained, HasSubstr("stage 'quantize' failed"));
  EXPECT_THAT(gridquant({"logs", "small-1", "quantize"}).out, HasSubstr("details of the failure"));
  EXPECT_EQ(run().exit_code, 0) << "the same command again, now that it works";
}

TEST_F(CliTest, AnInfrastructureFailureIsRetried) {
  script("plan", "signal 9\nexit 132 Unavailable read: input/output error\n");
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const json plan = stage_of(get(), "plan");
  ASSERT_EQ(plan["attempts"].size(), 3u);
  EXPECT_EQ(plan["attempts"][0]["exitCode"], 137);
  EXPECT_THAT(plan["attempts"][0]["message"].get<std::string>(), HasSubstr("signal 9"));
  EXPECT_EQ(plan["attempts"][1]["message"], "read: input/output error");
  EXPECT_THAT(gridquant({"logs", "small-1", "plan", "--attempt", "2"}).out, HasSubstr("input/output error"));
  EXPECT_EQ(gridquant({"logs", "small-1", "plan", "--attempt", "9"}).exit_code, 3);
}

TEST_F(CliTest, RetriesEnd) {
  script("plan", "signal 9\nsignal 9\nsignal 9\nok\n");
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("attempt 3 of 3"));
}

TEST_F(CliTest, CorruptStoredBytesAreMadeAgain) {
  ASSERT_EQ(run().exit_code, 0);
  const std::string artifact = stage_of(get(), "plan")["artifact"];
  {  // same size, other content: only the digest tells
    std::fstream file(artifact + "/checkpoint/block-0", std::ios::in | std::ios::out);
    file << "X";
  }
  std::filesystem::remove_all(std::string(stage_of(get(), "quantize")["artifact"]));
  script("quantize", "flip 14 DataLoss plan differs from its digest\n");
  const Outcome again = run();
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(made()["plan checkpoint/block-0"], 2);
  EXPECT_EQ(made()["calibrate checkpoint/block-0"], 1);
  EXPECT_EQ(stage_of(get("small-2"), "quantize")["attempts"].size(), 2u);
}

TEST_F(CliTest, AStageThatTakesTooLongIsStoppedAndTriedAgain) {
  write_pipeline("timeout: 300ms");
  script("quantize", "hang\n");
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("timed out"));
  EXPECT_EQ(stage_of(get(), "quantize")["attempts"].size(), 2u);
}

TEST_F(CliTest, CtrlCCancelsCleanlyAndTheSameCommandGoesOn) {
  script("quantize", "hang-after 2\n");
  const pid_t pid = start(run_arguments());
  ASSERT_TRUE(wait_until("fake/made", "quantize checkpoint/block-1"));
  ::kill(pid, SIGINT);
  const Outcome outcome = finish(pid);
  EXPECT_EQ(outcome.exit_code, 130) << outcome.err;
  const json view = get();
  EXPECT_EQ(view["state"], "cancelled");
  EXPECT_EQ(stage_of(view, "quantize")["state"], "cancelled");
  EXPECT_EQ(stage_of(view, "validate")["state"], "cancelled");
  EXPECT_FALSE(exists("out/checkpoint"));
  EXPECT_EQ(run().exit_code, 0);
  for (const auto& [block, count] : made()) EXPECT_EQ(count, 1) << block;
}

TEST_F(CliTest, CtrlCTwiceKills) {
  script("analyze", "deaf\n");
  const pid_t pid = start(run_arguments({"--grace-ms", "3600000"}));
  ASSERT_TRUE(wait_until(".gridquant/runs/small-1/analyze/attempt-1.log", "hanging"));
  ::kill(pid, SIGINT);
  ASSERT_TRUE(wait_until("stderr.txt", "cancelling"));
  ::kill(pid, SIGINT);
  EXPECT_EQ(finish(pid).exit_code, 130);
  EXPECT_EQ(stage_of(get(), "analyze")["attempts"][0]["exitCode"], 137);
}

TEST_F(CliTest, AKilledRunIsInterruptedAndTheSameCommandGoesOn) {
  script("quantize", "hang-after 1\n");
  const pid_t pid = start(run_arguments());
  ASSERT_TRUE(wait_until("fake/made", "quantize checkpoint/block-0"));
  const json during = get();
  EXPECT_EQ(during["state"], "running");
  EXPECT_EQ(stage_of(during, "quantize")["state"], "running");
  const Outcome second = run();
  EXPECT_EQ(second.exit_code, 2) << "a second run in the same work folder";
  EXPECT_THAT(second.err, HasSubstr("in use by process " + std::to_string(pid)));
  ::kill(pid, SIGKILL);
  EXPECT_EQ(finish(pid).exit_code, 137);
  const Outcome again = run();
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(get("small-1")["state"], "interrupted");
  EXPECT_EQ(get("small-2")["state"], "succeeded");
  EXPECT_THAT(gridquant({"list"}).out, HasSubstr("interrupted"));
  for (const auto& [block, count] : made()) EXPECT_EQ(count, 1) << block;
}

TEST_F(CliTest, BadCommandLinesAndFilesEndWith2AndStartNothing) {
  EXPECT_EQ(gridquant({}).exit_code, 2);
  EXPECT_EQ(gridquant({"fly"}).exit_code, 2);
  EXPECT_EQ(gridquant({"run"}).exit_code, 2);
  EXPECT_EQ(gridquant({"--help"}).exit_code, 0);
  EXPECT_EQ(gridquant({"version"}).exit_code, 0);
  EXPECT_EQ(gridquant({"run", "absent.yaml"}).exit_code, 2);
  EXPECT_EQ(run({"-p", "bits"}).exit_code, 2);
  const Outcome unknown = run({"-p", "bit=4"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("bit"));
  EXPECT_EQ(run({"--threads", "0"}).exit_code, 2);
  const Outcome missing = run({"-p", "model=gone"});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, HasSubstr("stage analyze: model: "));
  EXPECT_THAT(missing.err, HasSubstr("does not exist"));
  write("small.yaml", "kind: Pipeline\nstages: [");
  EXPECT_EQ(run().exit_code, 2);
  EXPECT_FALSE(exists("fake/made"));
}

TEST_F(CliTest, AnOutputThatCannotBeWrittenIsKnownBeforeAnythingRuns) {
  write("file", "");
  const Outcome outcome = run({"--output", "file/out"});  // also for root, who may write everywhere else
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("the output folder cannot be written"));
  EXPECT_FALSE(exists("fake/made"));
}

TEST_F(CliTest, AMissingWorkerIsKnownBeforeAnythingRuns) {
  const Outcome outcome = gridquant({"run", "small.yaml", "--worker", "nothing"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("the worker program is missing"));
}

TEST_F(CliTest, JsonEventsAreNumberedAndComplete) {
  script("plan", "exit 132 Unavailable x\n");
  const Outcome outcome = run({"-o", "json"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  std::stringstream lines(outcome.out);
  std::string line;
  int64_t seq = 0;
  std::set<std::string> kinds;
  std::vector<std::string> plan_states;
  while (std::getline(lines, line)) {
    const json event = json::parse(line, nullptr, false);
    ASSERT_TRUE(event.is_object()) << line;
    EXPECT_EQ(event["seq"], ++seq);
    kinds.insert(event["event"].get<std::string>());
    if (event["event"] == "stage" && event["stage"] == "plan") plan_states.push_back(event["state"]);
  }
  EXPECT_EQ(kinds, (std::set<std::string>{"run_started", "stage", "progress", "warning", "run_ended", "delivered"}));
  EXPECT_THAT(plan_states,
              testing::ElementsAre("looking", "ready", "running", "waiting", "ready", "running", "succeeded"));
}

TEST_F(CliTest, OutputJsonIsTheMachineFormatToo) {
  std::vector<std::string> arguments = run_arguments();
  arguments[3] = "json";
  const Outcome outcome = gridquant(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("\"event\":\"run_ended\""));
  EXPECT_TRUE(exists("out/small/report.json")) << "the default folder";
  EXPECT_FALSE(exists("json"));
}

TEST_F(CliTest, ThreadsReachTheWorker) {
  ASSERT_EQ(run({"--threads", "3"}).exit_code, 0);
  EXPECT_EQ(stage_of(get(), "plan")["summary"]["threads"], 3);
}

TEST_F(CliTest, AWorkFolderOfAnotherVersionIsRefused) {
  ASSERT_EQ(run().exit_code, 0);
  {
    std::fstream file(root_ + "/.gridquant/state.db", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(60);
    file.write("\0\0\0\x63", 4);
  }
  std::filesystem::remove(root_ + "/.gridquant/state.db-wal");
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("has format 99, this gridquant reads format 2"));
  EXPECT_EQ(gridquant({"get"}).exit_code, 2);
}

TEST_F(CliTest, WhatIsNotThereEndsWith3) {
  EXPECT_EQ(gridquant({"get"}).exit_code, 3);
  EXPECT_EQ(gridquant({"list"}).exit_code, 3);
  ASSERT_EQ(run().exit_code, 0);
  EXPECT_EQ(gridquant({"get", "small-7"}).exit_code, 3);
  EXPECT_EQ(gridquant({"logs", "small-1", "fly"}).exit_code, 3);
  EXPECT_EQ(gridquant({"explain", "fly"}).exit_code, 3);
  EXPECT_EQ(gridquant({"explain", "GQ9999"}).exit_code, 3);
  EXPECT_EQ(gridquant({"explain", "GQ0103"}).exit_code, 0);
}

TEST_F(CliTest, LogsFollowARunToItsEnd) {
  script("analyze", "hang\n");
  const pid_t pid = start(run_arguments());
  ASSERT_TRUE(wait_until(".gridquant/runs/small-1/analyze/attempt-1.log", "hanging"));
  const pid_t canceller = ::fork();
  if (canceller == 0) {
    ::usleep(300'000);
    ::kill(pid, SIGINT);
    ::_exit(0);
  }
  const Outcome followed = gridquant({"logs", "analyze", "-f"});
  EXPECT_EQ(followed.exit_code, 0);
  EXPECT_THAT(followed.out, HasSubstr("hanging"));
  ::waitpid(canceller, nullptr, 0);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 130);
}

TEST_F(CliTest, ABatchRunsOneAfterTheOtherAndStopsAtTheFirstFailureIfItSaysSo) {
  const std::string batch =
      "apiVersion: gridquant/v1\nkind: Batch\nmetadata: {name: sweep}\nspec:\n  pipeline: small.yaml\n"
      "  matrix: {bits: [4, 3]}\n";
  write("batch.yaml", batch);
  std::vector<std::string> arguments = run_arguments();
  arguments[1] = "batch.yaml";
  const Outcome both = gridquant(arguments);
  EXPECT_EQ(both.exit_code, 0) << both.err;
  EXPECT_TRUE(exists("out/sweep-4/report.json"));
  EXPECT_TRUE(exists("out/sweep-3/report.json"));
  EXPECT_EQ(stage_of(get("sweep-3-1"), "calibrate")["cached"], true) << "what both need is made once";

  script("plan", "exit 11 InvalidArgument no such bits\n");
  write("batch.yaml", batch + "  failFast: true\n");
  arguments.push_back("--no-cache");
  const Outcome first = gridquant(arguments);
  EXPECT_EQ(first.exit_code, 1);
  EXPECT_THAT(first.err, HasSubstr("1 run not started"));
  arguments.insert(arguments.end(), {"-p", "bits=4"});
  EXPECT_EQ(gridquant(arguments).exit_code, 2);
}

}  // namespace
}  // namespace gridquant::cli
