// The worker as a process: exit codes, JSON lines, the lock, and stopping when told to.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/base/status.h"
#include "stages/task.h"
#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class Worker : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "gridquant-worker-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    testing::write_tiny_model(base::posix_env(), folder_ + "/model", {});
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& uses, const json& with) {
    Task task;
    task.run = "test";
    task.stage = task.uses = uses;
    task.with = with;
    task.artifact = folder_ + "/" + uses;
    task.threads = 2;
    const std::string path = folder_ + "/" + uses + ".json";
    EXPECT_EQ(write_task(base::posix_env(), path, task), absl::OkStatus());
    return path;
  }

  // Starts the worker with its standard output in a file. Returns its process id.
  pid_t start(const std::vector<std::string>& arguments) {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    const int out = open(output().c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(out, STDOUT_FILENO);
    std::vector<char*> argv = {const_cast<char*>("gridquant-worker")};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(GRIDQUANT_BIN_DIR "/gridquant-worker", argv.data());
    _exit(99);
  }
  static int wait_for(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  int run(const std::vector<std::string>& arguments) { return wait_for(start(arguments)); }

  std::string output() const { return folder_ + "/stdout"; }
  std::vector<json> events() const {
    std::ifstream file(output());
    std::vector<json> events;
    for (std::string line; std::getline(file, line);) events.push_back(json::parse(line));
    return events;
  }

  bool says_waiting() const {
    std::ifstream file(output());
    std::stringstream text;
    text << file.rdbuf();
    return text.str().find("waiting for") != std::string::npos;
  }

  std::string folder_;
};

TEST_F(Worker, RunsAStageAndReportsInLines) {
  EXPECT_EQ(run({"--task", write("analyze", {{"model", folder_ + "/model"}}), "--threads", "1"}), 0);
  const std::vector<json> lines = events();
  ASSERT_GE(lines.size(), 2u);
  EXPECT_EQ(lines.front().at("event"), "note");
  EXPECT_EQ(lines.back().at("event"), "progress");
  EXPECT_EQ(lines.back().at("done"), lines.back().at("total"));
  const auto artifact = read_artifact(base::posix_env(), folder_ + "/analyze");
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  EXPECT_EQ(verify_artifact(base::posix_env(), folder_ + "/analyze", *artifact, true), absl::OkStatus());
}

TEST_F(Worker, ExitCodeSaysWhoseFaultItIs) {
  EXPECT_EQ(run({"--task", write("analyze", {{"model", folder_ + "/nowhere"}})}), static_cast<int>(ExitCode::kInput));
  EXPECT_EQ(events().back().at("event"), "error");
  EXPECT_EQ(events().back().at("code"), "NotFound");
  EXPECT_EQ(run({"--task", write("analyze", {{"modell", "x"}})}), static_cast<int>(ExitCode::kParameters));
  EXPECT_EQ(events().back().at("code"), "InvalidArgument");
  EXPECT_EQ(run({"--task", write("fly", json::object())}), static_cast<int>(ExitCode::kUnsupported));
  EXPECT_EQ(run({"--task", folder_ + "/absent.json"}), static_cast<int>(ExitCode::kInput));
  EXPECT_EQ(run({"--frobnicate"}), static_cast<int>(ExitCode::kParameters));
  EXPECT_EQ(run({"--help"}), 0);
}

TEST_F(Worker, ArtifactFolderThatCannotBeMade) {
  std::ofstream(folder_ + "/analyze") << "a file where the folder should be";
  const int code = run({"--task", write("analyze", {{"model", folder_ + "/model"}})});
  EXPECT_NE(code, 0);
  EXPECT_THAT(events().back().at("message").get<std::string>(), HasSubstr(folder_ + "/analyze"));
}

TEST_F(Worker, StopsWhileItWaitsForTheLock) {
  const std::string task = write("analyze", {{"model", folder_ + "/model"}});
  std::filesystem::create_directories(folder_ + "/analyze");
  const int other = open((folder_ + "/analyze/lock").c_str(), O_RDWR | O_CREAT, 0644);
  ASSERT_GE(other, 0);
  ASSERT_EQ(flock(other, LOCK_EX), 0);
  const pid_t pid = start({"--task", task});
  while (!says_waiting() && waitpid(pid, nullptr, WNOHANG) == 0) usleep(10'000);  // it gives up by itself in the end
  kill(pid, SIGTERM);
  EXPECT_EQ(wait_for(pid), static_cast<int>(ExitCode::kCancelled));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/analyze/artifact.json"));
  close(other);
  EXPECT_EQ(run({"--task", task}), 0);
}

}  // namespace
}  // namespace gridquant::stages
