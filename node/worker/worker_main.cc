// gridquant-worker: runs one stage of one task file and exits with a code that says whether trying again can help.
// Started by the node agent, or by hand. Progress goes to standard output, one JSON object per line; nothing else does.
// Not here: what the stages do (stages/), and when to run them (coordinator/).
//
//   {"event":"progress","done":3,"total":6,"unit":"block","message":"quantizing"}
//   {"event":"note","message":"..."}  {"event":"warning","message":"..."}
//   {"event":"error","code":"InvalidArgument","message":"..."}   once, last, before a non-zero exit
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/clock.h"
#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/device/cpu.h"
#include "engine/device/thread_pool.h"
#include "engine/ops/hold_to.h"
#include "engine/quant/solver.h"
#include "stages/context.h"
#include "stages/task.h"

namespace gridquant {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kLockWait{5'000};  // an attempt that was told to stop needs a moment to go
constexpr std::chrono::milliseconds kLockPoll{50};
constexpr const char* kCoreType = "OPENBLAS_CORETYPE";

// Set by a signal; a handler can reach nothing else.
std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);
extern "C" void on_stop(int) {
  stop_requested = true;
}

// As Abseil's constructors spell it: "InvalidArgument".
std::string code_name(absl::StatusCode code) {
  std::string name;
  bool start = true;
  for (const char c : absl::StatusCodeToString(code)) {
    if (c == '_') {
      start = true;
      continue;
    }
    name += start ? c : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    start = false;
  }
  return name;
}

class JsonLines final : public stages::ProgressSink {
 public:
  void progress(int64_t done, int64_t total, std::string_view unit, std::string_view message) override {
    write({{"event", "progress"}, {"done", done}, {"total", total}, {"unit", unit}, {"message", message}});
  }
  void note(std::string_view message) override { write({{"event", "note"}, {"message", message}}); }
  void warning(std::string_view message) override { write({{"event", "warning"}, {"message", message}}); }
  void error(const Status& status) {
    write({{"event", "error"}, {"code", code_name(status.code())}, {"message", std::string(status.message())}});
  }

 private:
  void write(const json& event) {
    const std::string line = event.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    absl::MutexLock lock(&mutex_);
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fflush(stdout);
  }
  absl::Mutex mutex_;
};

struct Options {
  std::string task;
  int threads = 0;  // 0: what the task says
  bool help = false;
};

StatusOr<Options> parse_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--help" || name == "-h") {
      options.help = true;
      continue;
    }
    if (i + 1 >= argc || (name != "--task" && name != "--threads")) {
      return absl::InvalidArgumentError(absl::StrCat("unknown or incomplete option ", name));
    }
    const std::string value = argv[++i];
    if (name == "--task") {
      options.task = value;
      continue;
    }
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), options.threads);
    if (error != std::errc() || end != value.data() + value.size() || options.threads < 0) {
      return absl::InvalidArgumentError(absl::StrCat("--threads must be a number, not ", value));
    }
  }
  if (!options.help && options.task.empty()) return absl::InvalidArgumentError("--task FILE is needed");
  return options;
}

// Holds the artifact's lock until the process ends, however it ends.
class ArtifactLock {
 public:
  ~ArtifactLock() {
    if (fd_ >= 0) close(fd_);
  }
  Status take(const std::string& path, JsonLines& progress) {
    fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) return absl::PermissionDeniedError(absl::StrCat(path, ": cannot be made: ", std::strerror(errno)));
    const auto deadline = std::chrono::steady_clock::now() + kLockWait;
    for (bool told = false; flock(fd_, LOCK_EX | LOCK_NB) != 0; told = true) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        return absl::UnavailableError(absl::StrCat(path, ": cannot be locked: ", std::strerror(errno)));
      }
      if (stop_requested) return absl::CancelledError("asked to stop while waiting for the artifact's lock");
      if (!told) progress.note(absl::StrCat("waiting for ", path));
      if (std::chrono::steady_clock::now() >= deadline) {
        return absl::UnavailableError(absl::StrCat(path, ": another attempt is still writing this artifact"));
      }
      std::this_thread::sleep_for(kLockPoll);
    }
    return absl::OkStatus();
  }

 private:
  int fd_ = -1;
};

// OpenBLAS chooses its kernels when it is loaded, before main: to tell it better, the program starts over once.
void restart_for_blas(const device::CpuInfo& cpu, char** argv) {
  if (std::getenv(kCoreType) != nullptr) return;
  const std::string better = device::openblas_coretype_for(cpu, quant::blas_core_name());
  if (better.empty() || setenv(kCoreType, better.c_str(), 1) != 0) return;
  execv("/proc/self/exe", argv);
  std::fprintf(stderr, "gridquant-worker: could not start over with %s=%s: %s\n", kCoreType, better.c_str(),
               std::strerror(errno));
}

Status run(const Options& options, const device::CpuInfo& cpu, JsonLines& progress) {
  base::Env& env = base::posix_env();
  GQ_ASSIGN_OR_RETURN(const stages::Task task, stages::read_task(env, options.task));
  GQ_RETURN_IF_ERROR(env.make_folders(task.artifact));
  ArtifactLock lock;
  GQ_RETURN_IF_ERROR(lock.take(base::join_path(task.artifact, "lock"), progress));
  const int wanted = options.threads > 0 ? options.threads : task.threads;
  device::ThreadPool pool(wanted > 0 ? wanted : cpu.cores);
  const char* chosen = std::getenv(kCoreType);
  progress.note(absl::StrCat(task.stage, ", attempt ", task.attempt, ": ", cpu.model, " (", cpu.kind(), "), ",
                             pool.threads(), " threads, OpenBLAS core ", quant::blas_core_name(),
                             chosen != nullptr ? absl::StrCat(" (", kCoreType, "=", chosen, ")") : ""));
  const std::string better = device::openblas_coretype_for(cpu, quant::blas_core_name());
  if (chosen != nullptr && !better.empty()) {
    progress.note(
        absl::StrCat(kCoreType, "=", chosen, " of the environment is kept; ", better, " would suit this CPU better"));
  }
  stages::StageContext context{task, env, base::system_clock(), pool, cpu, progress, stop_requested};
  return stages::run_stage(context);
}

int finish(const Status& status, JsonLines& progress) {
  if (!status.ok()) progress.error(status);
  return static_cast<int>(exit_code_for(status));
}

}  // namespace
}  // namespace gridquant

int main(int argc, char** argv) {
  using namespace gridquant;  // NOLINT: main is the program's own
  std::signal(SIGTERM, on_stop);
  std::signal(SIGINT, on_stop);
  std::signal(SIGPIPE, SIG_IGN);  // whoever reads the progress may go away; the work goes on
  JsonLines progress;
  const StatusOr<Options> options = parse_options(argc, argv);
  if (!options.ok()) return finish(options.status(), progress);
  if (options->help) {
    std::puts("gridquant-worker --task FILE [--threads N]\nRuns the stage that FILE (see stages/task.h) describes.");
    return 0;
  }
  const StatusOr<device::CpuInfo> cpu = device::cpu_within(device::detect_cpu(), std::getenv(device::kMaxCpuVariable));
  if (!cpu.ok()) return finish(cpu.status(), progress);
  ops::hold_to(*cpu);
  restart_for_blas(*cpu, argv);
  try {
    return finish(run(*options, *cpu, progress), progress);
  } catch (const std::bad_alloc&) {
    return finish(absl::ResourceExhaustedError("out of memory"), progress);
  }
}
