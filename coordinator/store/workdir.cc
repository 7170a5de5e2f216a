// flock(2) and the layout of the work folder.
#include "coordinator/store/workdir.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "engine/base/secret.h"

namespace gridquant::store {
namespace {

constexpr int64_t kPollMs = 20;

std::string holder_of(int fd) {
  char text[32] = {};
  const ssize_t length = ::pread(fd, text, sizeof(text) - 1, 0);
  std::string pid(text, length > 0 ? static_cast<size_t>(length) : 0);
  while (!pid.empty() && pid.back() == '\n') pid.pop_back();
  return pid.empty() ? "another process" : "process " + pid;
}

}  // namespace

std::string artifact_folder(const std::string& workdir, const std::string& uses, const std::string& key) {
  return workdir + "/artifacts/" + uses + "-" + key.substr(0, 16);
}

StatusOr<std::string> load_or_make_store_id(base::Env& env, const std::string& workdir) {
  const std::string path = workdir + "/artifacts/.store-id";
  if (env.exists(path)) return base::read_file(env, path);
  GQ_ASSIGN_OR_RETURN(const std::string id, base::make_secret());
  GQ_RETURN_IF_ERROR(env.make_folders(workdir + "/artifacts"));
  GQ_RETURN_IF_ERROR(base::write_file_atomically(env, path, id));
  return id;
}

std::string attempt_file(const std::string& workdir, const std::string& run, const std::string& stage, int attempt,
                         const std::string& ending) {
  return workdir + "/runs/" + run + "/" + stage + "/attempt-" + std::to_string(attempt) + "." + ending;
}

StatusOr<WorkdirLock> WorkdirLock::acquire(const std::string& workdir, int64_t wait_ms) {
  const std::string path = base::join_path(workdir, "lock");
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return absl::PermissionDeniedError(path + ": " + std::strerror(errno));
  WorkdirLock lock(fd);
  for (int64_t waited = 0; ::flock(fd, LOCK_EX | LOCK_NB) != 0; waited += kPollMs) {
    if (errno != EWOULDBLOCK) return absl::UnavailableError(path + ": " + std::strerror(errno));
    if (waited >= wait_ms) {
      return absl::FailedPreconditionError("the work folder " + workdir + " is in use by " + holder_of(fd) +
                                           ": wait for it to end, or use another one (--workdir DIR)");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    return absl::UnavailableError(path + ": " + std::strerror(errno));
  }
  return lock;
}

bool is_in_use(const std::string& folder) {
  const int fd = ::open(base::join_path(folder, "lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool in_use = ::flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  return in_use;
}

WorkdirLock::~WorkdirLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace gridquant::store
