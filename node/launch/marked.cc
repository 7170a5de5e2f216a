// Walks /proc.
#include "node/launch/marked.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <functional>
#include <iterator>
#include <optional>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gridquant::node {
namespace {

constexpr int kExecPolls = 50;
constexpr auto kExecPoll = std::chrono::milliseconds(1);

// Nothing, if it may not be read.
std::optional<std::string> read_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string text;
  char buffer[8192];
  for (ssize_t length = 0; (length = ::read(fd, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<size_t>(length));
  }
  ::close(fd);
  return text;
}

// For a moment a process that executes a new program has its memory, but no environment in it yet (proc(5), stat: vsize
// is not 0, env_end is). Kernel threads and zombies have no memory either.
bool is_in_exec(const std::string& pid) {
  const std::string stat = read_file("/proc/" + pid + "/stat").value_or("");
  std::istringstream fields(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));  // from field 3, the state
  const std::vector<std::string> all{std::istream_iterator<std::string>(fields), {}};
  constexpr size_t kVsize = 23 - 3, kEnvEnd = 51 - 3;
  return all.size() > kEnvEnd && all[kVsize] != "0" && all[kEnvEnd] == "0";
}

std::optional<std::string> environment_of(const std::string& pid) {
  const std::string path = "/proc/" + pid + "/environ";
  std::optional<std::string> text = read_file(path);
  for (int i = 0; i < kExecPolls && text && text->empty() && is_in_exec(pid); ++i) {
    std::this_thread::sleep_for(kExecPoll);
    text = read_file(path);
  }
  return text;
}

std::optional<std::string> mark_of(const std::string& pid) {
  const std::string text = environment_of(pid).value_or("");
  const std::string wanted = std::string(kMarkVariable) + "=";
  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.find('\0', begin);
    if (end == std::string::npos) end = text.size();
    if (text.compare(begin, wanted.size(), wanted) == 0) {
      return text.substr(begin + wanted.size(), end - begin - wanted.size());
    }
    begin = end + 1;
  }
  return std::nullopt;
}

void for_each_process(const std::function<void(const std::string&)>& visit) {
  const std::string own = std::to_string(::getpid());
  std::error_code error;
  for (auto at = std::filesystem::directory_iterator("/proc", error);
       !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) != 0 && name != own) visit(name);
  }
}

}  // namespace

std::vector<std::string> marks_in_use(std::string_view prefix) {
  std::vector<std::string> marks;
  for_each_process([&](const std::string& pid) {
    std::optional<std::string> mark = mark_of(pid);
    if (mark && mark->starts_with(prefix)) marks.push_back(*std::move(mark));
  });
  return marks;
}

std::vector<std::string> kill_marked(const std::set<std::string>& marks) {
  std::vector<std::string> found;
  for_each_process([&](const std::string& pid) {
    const std::optional<std::string> before = mark_of(pid);
    if (!before || marks.count(*before) == 0) return;
    // The descriptor names this very process; that it still carries the mark is looked at after it was opened.
    const int fd = static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(pid), 0));
    if (fd < 0) return;
    if (mark_of(pid) == before) {
      found.push_back(*before);
      ::syscall(SYS_pidfd_send_signal, fd, SIGKILL, nullptr, 0);
    }
    ::close(fd);
  });
  return found;
}

}  // namespace gridquant::node
