// A worker that does nothing but keep the contract (stages/task.h), with as little as a process can cost: no library,
// no disk sync. Says in its summary when it began and when it was done, in ns of CLOCK_MONOTONIC. processes.py measures
// with it what the control plane costs per stage.
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

namespace {

long long now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

}  // namespace

int main(int argc, char** argv) {
  const long long began = now_ns();
  if (argc != 3 || std::strcmp(argv[1], "--task") != 0) return 2;
  std::ifstream in(argv[2]);
  const nlohmann::json task = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!task.is_object()) return 2;
  const std::filesystem::path folder(task.value("artifact", ""));
  std::ofstream out(folder / "artifact.json.tmp");
  out << nlohmann::json{{"format", 1},
                        {"uses", task.value("uses", "")},
                        {"key", task.value("key", "")},
                        {"summary", {{"began_ns", began}, {"done_ns", now_ns()}}},
                        {"files", nlohmann::json::array()}};
  out.close();
  std::error_code error;
  std::filesystem::rename(folder / "artifact.json.tmp", folder / "artifact.json", error);
  return out && !error ? 0 : 1;
}
