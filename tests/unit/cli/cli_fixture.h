// A folder with a small pipeline, a made-up model and texts; runs the real gridquant binary on it, with fake_worker
// in place of gridquant-worker.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace gridquant::cli {

constexpr const char* kPipeline = R"(apiVersion: gridquant/v1
kind: Pipeline
metadata: {name: small}
spec:
  params:
    model: {type: path, default: model}
    bits: {type: int, enum: [2, 3, 4, 8], default: 4}
  defaults:
    retry: {maxAttempts: 3, backoff: {initial: 10ms, factor: 2, max: 50ms}, on: [infrastructure]}
  stages:
    analyze: {uses: analyze, with: {model: "${params.model}"}}
    calibrate:
      uses: calibrate
      needs: [analyze]
      with: {datasets: [{path: en.txt, language: en}], samples: 4, sequenceLength: 16}
    plan: {uses: plan, needs: [calibrate], with: {bits: "${params.bits}", groupSize: 32}}
    quantize: {uses: quantize, needs: [plan], TIMEOUT}
    validate:
      uses: validate
      needs: [quantize]
      with: {datasets: [{path: eval.txt, language: en}], sequenceLength: 16}
)";

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

class CliTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "cli-" + std::to_string(::getpid()) + "-" +
            testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ + "/model");
    std::filesystem::create_directories(root_ + "/fake");
    write("model/config.json", "{}");
    write("en.txt", "text");
    write("eval.txt", "other text");
    write_pipeline("timeout: 1h");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(root_ + "/" + name) << text; }
  void write_pipeline(const std::string& timeout) {
    std::string text = kPipeline;
    text.replace(text.find("TIMEOUT"), 7, timeout);
    write("small.yaml", text);
  }
  // What the worker of a stage does, attempt after attempt.
  void script(const std::string& stage, const std::string& lines) { write("fake/" + stage, lines); }

  std::string read(const std::string& name) const {
    std::ifstream file(root_ + "/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  bool exists(const std::string& name) const { return std::filesystem::exists(root_ + "/" + name); }
  nlohmann::json read_json(const std::string& name) const { return nlohmann::json::parse(read(name), nullptr, false); }

  // How often each block was made.
  std::map<std::string, int> made() const {
    std::map<std::string, int> counts;
    std::stringstream lines(read("fake/made"));
    std::string line;
    while (std::getline(lines, line)) ++counts[line];
    return counts;
  }

  static std::vector<std::string> run_arguments(std::vector<std::string> more = {}) {
    std::vector<std::string> all = {"run", "small.yaml", "--output",
                                    "out", "--worker",   std::string(GRIDQUANT_TEST_FOLDER) + "/fake_worker"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  pid_t start(const std::vector<std::string>& arguments) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    std::vector<std::string> all = {GRIDQUANT_BIN_DIR "/gridquant"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& argument : all) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::setenv("GRIDQUANT_FAKE", (root_ + "/fake").c_str(), 1);
    if (::chdir(root_.c_str()) != 0) ::_exit(126);
    ::dup2(::open("stdout.txt", O_WRONLY | O_CREAT | O_TRUNC, 0644), STDOUT_FILENO);
    ::dup2(::open("stderr.txt", O_WRONLY | O_CREAT | O_TRUNC, 0644), STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(126);
  }

  Outcome finish(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read("stdout.txt"), read("stderr.txt")};
  }
  Outcome gridquant(const std::vector<std::string>& arguments) { return finish(start(arguments)); }
  Outcome run(std::vector<std::string> more = {}) { return gridquant(run_arguments(std::move(more))); }

  // Waits until a file of the work folder contains `text`; false after a minute.
  bool wait_until(const std::string& file, const std::string& text) const {
    for (int i = 0; i < 6'000; ++i) {
      if (read(file).find(text) != std::string::npos) return true;
      ::usleep(10'000);
    }
    return false;
  }

  nlohmann::json get(const std::string& run = "small-1") {
    return nlohmann::json::parse(gridquant({"get", run, "-o", "json"}).out, nullptr, false);
  }
  static nlohmann::json stage_of(const nlohmann::json& run, const std::string& name) {
    for (const nlohmann::json& stage : run.at("stages")) {
      if (stage.at("name") == name) return stage;
    }
    return {};
  }

  std::string root_;
};

}  // namespace gridquant::cli
