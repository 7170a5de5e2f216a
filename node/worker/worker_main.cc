// gridquant-worker: runs one stage of one task file and exits with a code that says whether trying again can help.
// Started by the node agent, by mpirun (one per rank), or by hand. What it prints: json_lines.h.
// Not here: what the stages do (stages/), and when to run them (coordinator/).
#include <fcntl.h>
#include <malloc.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
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

#include "absl/strings/str_cat.h"
#include "engine/base/clock.h"
#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/device/cpu.h"
#include "engine/device/thread_pool.h"
#include "engine/ops/hold_to.h"
#include "node/worker/json_lines.h"
#include "node/worker/ranks.h"
#include "stages/context.h"
#include "stages/shard.h"
#include "stages/task.h"

namespace gridquant::worker {
namespace {

constexpr std::chrono::milliseconds kLockWait{5'000};  // an attempt that was told to stop needs a moment to go
constexpr std::chrono::milliseconds kLockPoll{50};

// Of operations that wait for other ranks; MPI's callback can reach nothing else.
std::atomic<int64_t> waits{0};

// Set by a signal; a handler can reach nothing else.
std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);
extern "C" void on_stop(int) {
  stop_requested = true;
}

struct Options {
  std::string task;
  int threads = 0;  // of each rank; 0: what the task says
  MpiMode mpi = MpiMode::kAuto;
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
    if (i + 1 >= argc || (name != "--task" && name != "--threads" && name != "--mpi")) {
      return absl::InvalidArgumentError(absl::StrCat("unknown or incomplete option ", name));
    }
    const std::string value = argv[++i];
    if (name == "--task") {
      options.task = value;
      continue;
    }
    if (name == "--mpi") {
      GQ_ASSIGN_OR_RETURN(options.mpi, parse_mpi_mode(value));
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

// Allocations are few and large, and the same ones come again at every site: what is given back is kept for the next.
// Above kMapFrom a buffer is mapped alone and goes back to the system when it is freed, so that little is kept (such
// buffers belong to models whose work on each page is much more than what the page costs). Without this, seven eighths
// of bench/gptq's page faults, 3 % of its time, were for pages given back a moment before. One arena for all threads:
// what one gives back, another takes again; with an arena for each a fifth more was resident, at no gain in speed.
void keep_freed_memory() {
  constexpr int kMapFrom = 32 << 20, kKept = 64 << 20;
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, kMapFrom);
  mallopt(M_TRIM_THRESHOLD, kKept);
}

void tell_machine(const stages::Task& task, const stages::StageContext& context, JsonLines& progress) {
  const device::CpuInfo& cpu = context.cpu;
  const std::string ranks = context.comm.size() > 1 ? absl::StrCat(context.comm.size(), " ranks of ") : "";
  const int threads = context.pool.threads();
  progress.note(absl::StrCat(task.stage, ", attempt ", task.attempt, ": ", cpu.model, " (", cpu.kind(), "), ", ranks,
                             threads, threads == 1 ? " thread" : " threads"));
}

Status run(const Options& options, const device::CpuInfo& cpu, comm::Communicator& comm, JsonLines& progress) {
  base::Env& env = base::posix_env();
  const StatusOr<stages::Task> read = stages::read_task(env, options.task);
  GQ_RETURN_IF_ERROR(stages::agree(comm, read.status()));
  const stages::Task& task = *read;
  ArtifactLock lock;  // the first rank's, for all
  GQ_RETURN_IF_ERROR(stages::on_first_rank(comm, [&]() -> Status {
    GQ_RETURN_IF_ERROR(env.make_folders(task.artifact));
    return lock.take(base::join_path(task.artifact, stages::kArtifactLock), progress);
  }));
  const int wanted = options.threads > 0 ? options.threads : task.threads;
  device::ThreadPool pool(threads_of_rank(wanted, cpu.cores, comm.local_size()));
  stages::StageContext context{task, env, base::system_clock(), pool, cpu, progress, stop_requested, comm};
  tell_machine(task, context, progress);
  return stages::run_stage(context);
}

int finish(const Status& status, JsonLines& progress) {
  if (!status.ok()) progress.error(status);
  return static_cast<int>(exit_code_for(status));
}

// Where ranks agreed on an error, the first one tells it, and all end in order. An error that one rank has alone ends
// the others: they would wait for it.
int finish_rank(const Status& status, comm::Communicator& comm, JsonLines& progress) {
  if (status.ok() || (stages::is_agreed(status) && comm.rank() != 0)) return static_cast<int>(exit_code_for(status));
  const int code = finish(status, progress);
  if (!stages::is_agreed(status)) comm.end_all(code);
  return code;
}

int run_rank(const Options& options, const device::CpuInfo& cpu, comm::Communicator& comm, JsonLines& progress) {
  progress.set_rank(comm.rank());
  const Heartbeat heartbeat(progress, waits);
  try {
    return finish_rank(run(options, cpu, comm, progress), comm, progress);
  } catch (const std::bad_alloc&) {
    return finish_rank(absl::ResourceExhaustedError("out of memory"), comm, progress);
  }
}

int run_worker(const Options& options, const device::CpuInfo& cpu, JsonLines& progress) {
  const StatusOr<bool> mpi = wants_mpi(options.mpi, [](const char* name) { return std::getenv(name); });
  if (!mpi.ok()) return finish(mpi.status(), progress);
  if (!*mpi) return run_rank(options, cpu, comm::self(), progress);
  const auto comm = comm::make_mpi([] { ++waits; });
  if (!comm.ok()) return finish(comm.status(), progress);
  return run_rank(options, cpu, **comm, progress);
}

}  // namespace
}  // namespace gridquant::worker

int main(int argc, char** argv) {
  using namespace gridquant;          // NOLINT: main is the program's own
  using namespace gridquant::worker;  // NOLINT
  keep_freed_memory();
  std::signal(SIGTERM, on_stop);
  std::signal(SIGINT, on_stop);
  std::signal(SIGPIPE, SIG_IGN);  // whoever reads the progress may go away; the work goes on
  JsonLines progress;
  const StatusOr<Options> options = parse_options(argc, argv);
  if (!options.ok()) return finish(options.status(), progress);
  if (options->help) {
    std::puts(
        "gridquant-worker --task FILE [--threads N] [--mpi auto|on|off]\n"
        "Runs the stage that FILE (see stages/task.h) describes; under mpirun or srun as one of its ranks.");
    return 0;
  }
  const StatusOr<device::CpuInfo> cpu = device::cpu_within(device::detect_cpu(), std::getenv(device::kMaxCpuVariable));
  if (!cpu.ok()) return finish(cpu.status(), progress);
  ops::hold_to(*cpu);
  return run_worker(*options, *cpu, progress);
}
