// Walks /proc.
#include "node/launch/marked.h"

#include <cctype>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gridquant::node {
namespace {

std::optional<std::string> mark_of(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/environ", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
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

size_t kill_marked(std::string_view mark) {
  size_t found = 0;
  for_each_process([&](const std::string& pid) {
    const std::optional<std::string> before = mark_of(pid);
    if (!before || *before != mark) return;
    // The descriptor names this very process; that it still carries the mark is looked at after it was opened.
    const int fd = static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(pid), 0));
    if (fd < 0) return;
    if (mark_of(pid) == before) {
      ++found;
      ::syscall(SYS_pidfd_send_signal, fd, SIGKILL, nullptr, 0);
    }
    ::close(fd);
  });
  return found;
}

}  // namespace gridquant::node
