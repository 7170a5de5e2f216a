// The stories that people argue about, as transcripts: tests/sim/scenarios/*.txt hold commands ("> ...") and what
// happened after each. GRIDQUANT_REGENERATE=1 writes them anew; read the difference before you keep it.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/sim/cluster.h"

namespace gridquant::sim {
namespace {

class Player {
 public:
  Player() : cluster_(1, {}) {
    cluster_.tracing = true;
    cluster_.manual_workers = true;
  }

  // What happened, one line each.
  std::string perform(const std::string& command) {
    std::istringstream words(command);
    std::string verb;
    words >> verb;
    std::string out;
    try {
      const bool at_once = verb.back() == '!';  // the next command comes at the same moment
      if (at_once) verb.pop_back();
      out = act(verb, words);
      if (!at_once && verb != "wait" && verb != "until" && verb != "end-world") cluster_.advance(cluster_.now() + 50);
    } catch (const Violation& violation) {
      out = std::string("VIOLATION ") + violation.what() + "\n";
    }
    for (const std::string& line : cluster_.trace) {
      const std::string text = line.substr(line.find(' ') + 1);
      if (text.rfind("request_done", 0) != 0 && text.rfind("incarnation", 0) != 0) out += "  " + text + "\n";
    }
    cluster_.trace.clear();
    return out;
  }

 private:
  std::string act(const std::string& verb, std::istringstream& words) {
    std::string first, second;
    if (verb == "node") {
      int cores = 0, gpus = 0;
      words >> cores >> gpus;
      cluster_.add_node(cores, gpus);
    } else if (verb == "submit") {
      words >> first >> second;
      sched::RunSubmitted run = cluster_.plain_run(first, second);
      spec::StagePlan& plan = run.pipeline.stages[0];
      words >> plan.gang_ranks >> plan.gang_min_ranks;
      if (plan.gang_ranks < 1) plan.gang_ranks = plan.gang_min_ranks = 1;
      cluster_.submit(run);
    } else if (verb == "end") {
      int node = 0, code = 0;
      words >> node >> code;
      Host& host = cluster_.host(static_cast<size_t>(node - 1));
      if (!host.processes.empty()) cluster_.end_process(host, host.processes.begin()->first, code);
    } else if (verb == "wait") {
      Tick ms = 0;
      words >> ms;
      cluster_.advance(cluster_.now() + ms);
    } else if (verb == "until") {  // something like this happens; it is on no disk yet then
      words >> first;
      const auto seen = [&] {
        return std::any_of(cluster_.trace.begin(), cluster_.trace.end(),
                           [&](const std::string& line) { return line.find(first) != std::string::npos; });
      };
      for (int ms = 0; ms < 60'000 && !seen(); ++ms) cluster_.advance(cluster_.now() + 1);
    } else if (verb == "explain") {
      words >> first >> second;
      return "  " + *explain(*cluster_.scheduler(), first, second, cluster_.now()) + "\n";
    } else {
      return fault(verb, words);
    }
    return "";
  }

  std::string fault(const std::string& verb, std::istringstream& words) {
    std::string first;
    words >> first;
    if (verb == "coordinator") {
      if (first == "starts") cluster_.start_coordinator();
      if (first == "dies") cluster_.crash_coordinator(false);
      if (first == "dies-after-writing") cluster_.crash_coordinator(true);
    } else if (verb == "disk") {
      cluster_.set_disk_full(first == "full");
    } else if (verb == "cancel") {
      cluster_.input(sched::CancelRequested{first, "the operator wished it", false});
    } else if (verb == "forget") {
      cluster_.input(sched::ForgetRequested{first});
    } else if (verb == "delete") {
      cluster_.input(sched::DeleteRequested{first});
    } else if (verb == "drain" || verb == "undrain") {
      int64_t ms = 0;
      words >> ms;
      cluster_.input(sched::DrainRequested{first, verb == "drain", ms});
    } else if (verb == "end-world") {
      cluster_.heal();
      for (int i = 0; i < 200 && !cluster_.idle(); ++i) {
        while (cluster_.end_first(0)) {
        }
        cluster_.advance(cluster_.now() + 500);
      }
      cluster_.expect_end(1'000);
      return "  every run is over, every slot free\n";
    } else {
      return at_host(verb, first);
    }
    return "";
  }

  std::string at_host(const std::string& verb, const std::string& name) {
    Host& host = cluster_.host(static_cast<size_t>(std::atoi(name.c_str() + 1) - 1));
    if (verb == "cut" || verb == "mend") host.cut_in = host.cut_out = verb == "cut";
    if (verb == "mute") host.cut_out = true;
    if (verb == "kill-agent") cluster_.crash_agent(host, false);
    if (verb == "stop-agent") cluster_.stop_agent(host);
    if (verb == "orphan") cluster_.crash_agent(host, true);
    if (verb == "start-agent") cluster_.start_agent(host);
    return "";
  }

  Cluster cluster_;
};

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(ScenarioTest, HappenAsWritten) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(GRIDQUANT_SOURCE_DIR) + "/tests/sim/scenarios")) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  ASSERT_GE(files.size(), 8u);
  for (const auto& path : files) {
    const std::string expected = read(path);
    std::istringstream lines(expected);
    Player player;
    std::string line, actual;
    while (std::getline(lines, line)) {
      if (line.rfind("#", 0) == 0 || line.empty()) actual += line + "\n";
      if (line.rfind("> ", 0) == 0) actual += line + "\n" + player.perform(line.substr(2));
    }
    EXPECT_EQ(actual.find("VIOLATION"), std::string::npos) << path << "\n" << actual;
    if (std::getenv("GRIDQUANT_REGENERATE") != nullptr) {
      std::ofstream(path) << actual;
    } else {
      EXPECT_EQ(actual, expected) << path;
    }
  }
}

}  // namespace
}  // namespace gridquant::sim
