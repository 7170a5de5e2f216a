// Launcher over vfork, exec, pidfd and poll.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <set>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/launch/launcher.h"
#include "node/launch/marked.h"

extern char** environ;  // NOLINT: POSIX's own

namespace gridquant::node {
namespace {

constexpr size_t kMaxLineBytes = 64 * 1024;
constexpr int kMaxReadsPerWait = 64;  // of 4 KiB per process: the caller gets its turn also while one floods us
constexpr int kLingerPollMs = 10;
constexpr auto kMarkedPoll = std::chrono::milliseconds(50);  // between two looks at all processes of the machine

// A descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

struct Process {
  pid_t pid = 0;
  Fd out, pidfd, log;
  std::string partial;  // of a line
  bool out_open = true;
  bool leader_gone = false, group_gone = false, marked_gone = false;
  int exit_code = 0;
  std::string mark;
  std::chrono::steady_clock::time_point look_at{};  // for what is marked, next
};

struct Pipe {
  Fd read, write;
};

StatusOr<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return absl::UnavailableError(std::string("pipe: ") + std::strerror(errno));
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

struct ChildSetup {
  char* const* argv;
  char* const* env;
  int in, out, log, error;
  const std::vector<int>& keep;
  pid_t parent;
};

// Between vfork and exec, in the parent's memory: system calls only, and nothing of the parent's is changed. Does not
// return; writes errno to `error` if exec fails.
[[noreturn]] void run_child(const ChildSetup& setup) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != setup.parent) ::_exit(127);  // the parent died before prctl
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGQUIT}) ::signal(signal, SIG_DFL);
  ::dup2(setup.in, STDIN_FILENO);
  ::dup2(setup.out, STDOUT_FILENO);
  ::dup2(setup.log, STDERR_FILENO);
  for (const int fd : setup.keep) ::fcntl(fd, F_SETFD, 0);
  ::execve(setup.argv[0], setup.argv, setup.env);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = ::write(setup.error, &error, sizeof(error));
  ::_exit(127);
}

// Ours, with `changes` in place of the variables of the same names.
std::vector<std::string> environment_with(const std::vector<std::string>& changes) {
  std::vector<std::string> all = changes;
  for (char** one = environ; one != nullptr && *one != nullptr; ++one) {
    const std::string_view text = *one;
    const std::string_view name = text.substr(0, text.find('=') + 1);
    const bool changed = std::any_of(changes.begin(), changes.end(),
                                     [&](const std::string& change) { return change.starts_with(name); });
    if (!changed) all.emplace_back(text);
  }
  return all;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> all;
  for (const std::string& string : strings) all.push_back(const_cast<char*>(string.c_str()));
  all.push_back(nullptr);
  return all;
}

class PosixLauncher final : public Launcher {
 public:
  PosixLauncher() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

  ~PosixLauncher() override {
    for (auto& [id, process] : processes_) {
      if (!process.leader_gone) ::kill(-process.pid, SIGKILL);
      if (!process.mark.empty()) kill_marked({process.mark});
    }
    for (auto& [id, process] : processes_) {
      if (!process.leader_gone) ::waitpid(process.pid, nullptr, 0);
    }
  }

  StatusOr<int64_t> start(uint64_t id, const LaunchSpec& spec) override {
    Process process;
    process.log = Fd(::open(spec.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (process.log.get() < 0) return absl::UnavailableError(spec.log_path + ": " + std::strerror(errno));
    const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    GQ_ASSIGN_OR_RETURN(Pipe out, make_pipe());
    GQ_ASSIGN_OR_RETURN(Pipe error, make_pipe());
    std::vector<std::string> changes = spec.env;
    if (!spec.mark.empty()) changes.push_back(std::string(kMarkVariable) + "=" + spec.mark);
    const std::vector<std::string> environment = environment_with(changes);
    const std::vector<char*> argv = pointers(spec.argv), env = pointers(environment);
    const ChildSetup setup{.argv = argv.data(),
                           .env = env.data(),
                           .in = null.get(),
                           .out = out.write.get(),
                           .log = spec.merge_errors ? out.write.get() : process.log.get(),
                           .error = error.write.get(),
                           .keep = spec.keep_fds,
                           .parent = ::getpid()};
    process.mark = spec.mark;
    process.pid = ::vfork();  // an agent's memory is large to copy; run_child keeps to what vfork allows
    if (process.pid < 0) return absl::UnavailableError(std::string("fork: ") + std::strerror(errno));
    if (process.pid == 0) run_child(setup);
    ::setpgid(process.pid, process.pid);  // also here: whoever comes first
    error.write.reset();
    int exec_error = 0;
    if (::read(error.read.get(), &exec_error, sizeof(exec_error)) == sizeof(exec_error)) {
      ::waitpid(process.pid, nullptr, 0);
      return absl::UnavailableError("cannot start " + spec.argv[0] + ": " + std::strerror(exec_error));
    }
    ::fcntl(out.read.get(), F_SETFL, O_NONBLOCK);
    process.out = std::move(out.read);
    process.pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
    const int64_t pid = process.pid;
    processes_[id] = std::move(process);
    return pid;
  }

  void signal(uint64_t id, Signal signal) override {
    const auto found = processes_.find(id);
    if (found == processes_.end()) return;
    if (!found->second.leader_gone) ::kill(-found->second.pid, signal == Signal::kKill ? SIGKILL : SIGTERM);
    if (signal == Signal::kKill && !found->second.mark.empty()) kill_marked({found->second.mark});
  }

  void write_log(uint64_t id, std::string_view line) override {
    const auto running = processes_.find(id);
    const auto ended = ended_logs_.find(id);
    if (running == processes_.end() && ended == ended_logs_.end()) return;
    const int log = running != processes_.end() ? running->second.log.get() : ended->second.get();
    const std::string text = std::string(line) + "\n";
    [[maybe_unused]] const ssize_t written = ::write(log, text.data(), text.size());
  }

  std::vector<ProcessEvent> wait(int timeout_ms, int wake_fd) override {
    ended_logs_.clear();
    poll_once(timeout_ms, wake_fd);
    std::vector<ProcessEvent> events;
    for (auto& [id, process] : processes_) {
      read_lines(id, process, kMaxReadsPerWait, events);
      if (!process.leader_gone) reap_leader(process);
      process.group_gone = process.leader_gone && group_is_gone(process);
    }
    look_for_marked();
    for (auto it = processes_.begin(); it != processes_.end();) {
      Process& process = it->second;
      if (process.group_gone && process.marked_gone) {
        read_lines(it->first, process, 1 << 20, events);  // what was in the pipe when it died
        if (!process.partial.empty()) events.push_back({it->first, ProcessEvent::Kind::kLine, process.partial, 0});
        events.push_back({it->first, ProcessEvent::Kind::kExited, "", process.exit_code});
        ended_logs_[it->first] = std::move(process.log);
        it = processes_.erase(it);
      } else {
        ++it;
      }
    }
    reap_orphans();
    return events;
  }

 private:
  void poll_once(int timeout_ms, int wake_fd) {
    std::vector<pollfd> fds;
    if (wake_fd >= 0) fds.push_back({wake_fd, POLLIN, 0});
    for (const auto& [id, process] : processes_) {
      if (process.out_open) fds.push_back({process.out.get(), POLLIN, 0});
      const bool can_wake = !process.leader_gone && process.pidfd.get() >= 0;
      if (can_wake) fds.push_back({process.pidfd.get(), POLLIN, 0});
      if (!can_wake) timeout_ms = timeout_ms < 0 ? kLingerPollMs : std::min(timeout_ms, kLingerPollMs);
    }
    ::poll(fds.data(), fds.size(), timeout_ms);  // EINTR is as good as a time-out
  }

  static void reap_leader(Process& process) {
    int status = 0;
    if (::waitpid(process.pid, &status, WNOHANG) != process.pid) return;
    process.leader_gone = true;
    process.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  // Kills and reaps what the leader left behind. As subreaper we inherit its orphans, so none stays a zombie.
  static bool group_is_gone(const Process& process) {
    if (::kill(-process.pid, SIGKILL) == 0 || errno != ESRCH) {
      while (::waitpid(-process.pid, nullptr, WNOHANG) > 0) {
      }
      if (::kill(-process.pid, 0) == 0 || errno != ESRCH) return false;
    }
    return true;
  }

  // Kills what has left the groups; one look at the machine's processes for all that have ended.
  void look_for_marked() {
    const auto now = std::chrono::steady_clock::now();
    std::set<std::string> marks;
    for (auto& [id, process] : processes_) {
      if (!process.group_gone || process.marked_gone || now < process.look_at) continue;
      process.look_at = now + kMarkedPoll;
      process.marked_gone = process.mark.empty();
      if (!process.marked_gone) marks.insert(process.mark);
    }
    if (marks.empty()) return;
    const std::vector<std::string> alive = kill_marked(marks);
    for (auto& [id, process] : processes_) {
      if (marks.count(process.mark) == 0) continue;
      process.marked_gone = std::find(alive.begin(), alive.end(), process.mark) == alive.end();
    }
  }

  // Of marked processes in groups of their own.
  void reap_orphans() const {
    while (true) {
      siginfo_t info{};
      if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
      for (const auto& [id, process] : processes_) {
        if (process.pid == info.si_pid && !process.leader_gone) return;  // its end is seen by the next wait()
      }
      ::waitpid(info.si_pid, nullptr, WNOHANG);
    }
  }

  static void read_lines(uint64_t id, Process& process, int max_reads, std::vector<ProcessEvent>& events) {
    char buffer[4096];
    for (int i = 0; process.out_open && i < max_reads; ++i) {
      const ssize_t length = ::read(process.out.get(), buffer, sizeof(buffer));
      if (length < 0) return;  // EAGAIN: no more for now
      if (length == 0) {
        process.out_open = false;
        return;
      }
      split(id, process, std::string_view(buffer, static_cast<size_t>(length)), events);
    }
  }

  static void split(uint64_t id, Process& process, std::string_view text, std::vector<ProcessEvent>& events) {
    while (!text.empty()) {
      const size_t end = text.find('\n');
      const std::string_view part = text.substr(0, end);
      const size_t room = kMaxLineBytes - std::min(kMaxLineBytes, process.partial.size());
      process.partial.append(part.substr(0, room));
      if (end == std::string_view::npos) return;
      events.push_back({id, ProcessEvent::Kind::kLine, std::move(process.partial), 0});
      process.partial.clear();
      text.remove_prefix(end + 1);
    }
  }

  std::map<uint64_t, Process> processes_;
  std::map<uint64_t, Fd> ended_logs_;  // of processes whose end the last wait() reported, with their last lines
};

}  // namespace

std::unique_ptr<Launcher> make_posix_launcher() {
  return std::make_unique<PosixLauncher>();
}

}  // namespace gridquant::node
