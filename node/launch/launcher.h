// Starting processes, behind a seam: the operating system's, and one in memory for tests.
//
// A process gets its own process group, /dev/null as standard input, a pipe that we read line by line as standard
// output, and the end of a log file as standard error. It dies when this process dies. It counts as exited only when
// its whole group is gone, and, if it is marked (marked.h), everything that carries its mark; zombies count as gone.
//
// Used from one thread, which must live as long as the processes: the kernel ties PR_SET_PDEATHSIG to it. There is no
// queue: lines wait in the pipe, so a chatty process is held back by the pipe's own limit.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::node {

struct LaunchSpec {
  std::vector<std::string> argv;   // argv[0]: path of the executable
  std::string log_path;            // its folder must exist; appended to
  std::vector<int> keep_fds{};     // descriptors that the process inherits
  std::vector<std::string> env{};  // "NAME=value": besides our own environment, or instead of what is in it
  // Not "": whatever it starts belongs to it, also in process groups of their own (mpirun's ranks).
  std::string mark{};
  bool merge_errors = false;  // standard error goes where standard output goes, line by line
};

struct ProcessEvent {
  enum class Kind { kLine, kExited };
  uint64_t id = 0;
  Kind kind = Kind::kLine;
  std::string line;   // kLine: without the newline; cut after 64 KiB
  int exit_code = 0;  // kExited: 128 + signal, if one ended it
};

enum class Signal { kTerminate, kKill };

class Launcher {
 public:
  virtual ~Launcher() = default;
  // `id` is the caller's name of the process, never used before. Returns the process id. Unavailable if it cannot be
  // started, with the reason.
  virtual StatusOr<int64_t> start(uint64_t id, const LaunchSpec& spec) = 0;
  // To the whole group, kKill to everything marked as well; unknown or gone: nothing happens.
  virtual void signal(uint64_t id, Signal signal) = 0;
  // A line in the process's log; also after its end, until the next wait().
  virtual void write_log(uint64_t id, std::string_view line) = 0;
  // Waits until something happens, `wake_fd` (-1: none) is readable, or the time is over. After kExited nothing more
  // comes from that process.
  virtual std::vector<ProcessEvent> wait(int timeout_ms, int wake_fd) = 0;
};

// Kills what still runs when it is destroyed.
std::unique_ptr<Launcher> make_posix_launcher();

}  // namespace gridquant::node
