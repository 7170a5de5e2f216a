// A worker without an engine, for tests of the command line: keeps the whole contract (task file, events, blocks that a
// later attempt finds again, artifact.json, exit codes), and fails where a script says so.
//
// The script of a stage is the file $GRIDQUANT_FAKE/<stage>: one line per attempt, of any run; it is consumed line by
// line. Lines: "ok", "exit CODE NAME MESSAGE", "signal N", "hang", "hang-after N" (blocks), "deaf" (ignores TERM),
// "flip" (says that an input is corrupt, with exit code 14). No line: "ok".
// Every block that is made is a line in $GRIDQUANT_FAKE/made.
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include <unistd.h>

#include "engine/base/digest.h"
#include "stages/task.h"

namespace gridquant {
namespace {

constexpr int kBlocks = 3;

volatile std::sig_atomic_t g_stop = 0;

void event(const nlohmann::json& json) {
  std::cout << json.dump() << "\n" << std::flush;
}

// Takes the first line out of the script.
std::string next_line(const std::string& path) {
  std::ifstream in(path);
  std::string first, rest;
  std::getline(in, first);
  std::stringstream others;
  others << in.rdbuf();
  in.close();
  if (!first.empty()) std::ofstream(path) << others.str();
  return first.empty() ? "ok" : first;
}

void wait_for_stop() {
  event({{"event", "note"}, {"message", "hanging"}});
  while (g_stop == 0) ::usleep(5'000);
  std::exit(static_cast<int>(ExitCode::kCancelled));
}

stages::ArtifactFile make_file(const stages::Task& task, const std::string& path, const std::string& content,
                               const std::string& made) {
  base::Env& env = base::posix_env();
  const std::string full = base::join_path(task.artifact, path);
  if (!env.exists(full)) {
    env.make_folders(base::folder_of(full)).IgnoreError();
    base::write_file_atomically(env, full, content).IgnoreError();
    std::ofstream(made, std::ios::app) << task.stage << " " << path << "\n";
  }
  return {path, content.size(), base::digest_of(content)};
}

int work(const stages::Task& task, const std::string& folder) {
  if (!task.fresh.empty()) {
    const Status emptied = stages::start_fresh(base::posix_env(), task.artifact, task.fresh);
    if (!emptied.ok()) return static_cast<int>(exit_code_for(emptied));
  }
  const std::string line = next_line(folder + "/" + task.stage);
  std::stringstream words(line);
  std::string verb, name, message;
  int number = 0;
  words >> verb;
  if (verb == "deaf") std::signal(SIGTERM, SIG_IGN);
  if (verb == "hang" || verb == "deaf") wait_for_stop();
  words >> number;
  if (verb == "exit" || verb == "flip") {
    words >> name;
    std::getline(words >> std::ws, message);
    event({{"event", "error"}, {"code", name}, {"message", message}});
    std::cerr << "details of the failure\n";
    return number;
  }
  if (verb == "signal") ::raise(number);
  stages::Artifact artifact{.uses = task.uses, .key = task.key, .summary = {{"threads", task.threads}}, .files = {}};
  artifact.summary["bytes"] = 1234;
  if (task.uses == "analyze") event({{"event", "warning"}, {"message", "the model is made up"}});
  for (int block = 0; block < kBlocks; ++block) {
    if (verb == "hang-after" && block == number) wait_for_stop();
    const std::string path = "checkpoint/block-" + std::to_string(block);
    artifact.files.push_back(make_file(task, path, task.key + "/" + std::to_string(block), folder + "/made"));
    event({{"event", "progress"}, {"done", block + 1}, {"total", kBlocks}, {"unit", "block"}, {"message", ""}});
  }
  std::cout << "a library says something that is no event\n";
  const Status committed = stages::commit_artifact(base::posix_env(), task.artifact, artifact);
  return static_cast<int>(exit_code_for(committed));
}

}  // namespace
}  // namespace gridquant

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { gridquant::g_stop = 1; });
  const char* folder = std::getenv("GRIDQUANT_FAKE");
  if (argc != 3 || std::string(argv[1]) != "--task" || folder == nullptr) return 11;
  const auto task = gridquant::stages::read_task(gridquant::base::posix_env(), argv[2]);
  if (!task.ok()) {
    std::cerr << task.status() << "\n";
    return 10;
  }
  return gridquant::work(*task, folder);
}
