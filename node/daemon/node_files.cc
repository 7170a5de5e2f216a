// See node_files.h.
#include "node/daemon/node_files.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "node/launch/marked.h"

namespace gridquant::node {
namespace {

constexpr const char* kRandomName = "/proc/sys/kernel/random/uuid";
constexpr size_t kNameLength = 36;

std::optional<uint64_t> number_in(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

StatusOr<std::string> random_name() {
  const int fd = ::open(kRandomName, O_RDONLY | O_CLOEXEC);
  std::string name(kNameLength, '\0');
  const bool read = fd >= 0 && ::read(fd, name.data(), name.size()) == static_cast<ssize_t>(name.size());
  if (fd >= 0) ::close(fd);
  if (!read) return absl::UnavailableError(absl::StrCat(kRandomName, " cannot be read"));
  return name;
}

}  // namespace

StatusOr<NodeFiles> NodeFiles::open(base::Env& env, const std::string& folder) {
  GQ_RETURN_IF_ERROR(annotate(env.make_folders(base::join_path(folder, "attempts")),
                              "the node's folder cannot be made (--workdir DIR)"));
  NodeFiles files(env, folder);
  const std::string lock = base::join_path(folder, "lock");
  files.lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (files.lock_ < 0) return absl::PermissionDeniedError(absl::StrCat(lock, ": ", std::strerror(errno)));
  if (::flock(files.lock_, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(folder, ": another agent works in this folder; each node needs its own (--workdir DIR)"));
  }
  const std::string id = base::join_path(folder, "id"), boot = base::join_path(folder, "boot");
  if (!env.exists(id)) {
    GQ_ASSIGN_OR_RETURN(const std::string name, random_name());
    GQ_RETURN_IF_ERROR(base::write_file_atomically(env, id, name));
  }
  GQ_ASSIGN_OR_RETURN(files.id_, base::read_file(env, id));
  if (files.id_.size() != kNameLength) return absl::DataLossError(absl::StrCat(id, " is damaged: delete it"));
  if (env.exists(boot)) {
    GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env, boot));
    const auto number = number_in(std::string_view(text).substr(0, text.find('\n')));
    if (!number) return absl::DataLossError(absl::StrCat(boot, " must hold a number, how many agents there were"));
    files.boot_ = static_cast<int64_t>(*number);
  }
  ++files.boot_;
  GQ_RETURN_IF_ERROR(base::write_file_atomically(env, boot, absl::StrCat(files.boot_, "\n")));
  return files;
}

NodeFiles::~NodeFiles() {
  if (lock_ >= 0) ::close(lock_);
}

NodeFiles::NodeFiles(NodeFiles&& other) noexcept
    : env_(other.env_),
      folder_(std::move(other.folder_)),
      id_(std::move(other.id_)),
      boot_(other.boot_),
      lock_(std::exchange(other.lock_, -1)) {}

std::vector<uint64_t> NodeFiles::alive() const {
  std::set<uint64_t> epochs;
  const std::string prefix = id_ + ":";
  for (const std::string& mark : marks_in_use(prefix)) {
    if (const auto epoch = number_in(std::string_view(mark).substr(prefix.size()))) epochs.insert(*epoch);
  }
  return {epochs.begin(), epochs.end()};
}

std::string NodeFiles::attempt_folder(uint64_t epoch) const {
  return absl::StrCat(folder_, "/attempts/", epoch);
}

std::string NodeFiles::attempt_file(uint64_t epoch, const std::string& name) const {
  return absl::StrCat(attempt_folder(epoch), "/", name);
}

std::vector<uint64_t> NodeFiles::attempts() {
  std::vector<uint64_t> epochs;
  const auto names = env_->list(base::join_path(folder_, "attempts"));
  if (!names.ok()) return epochs;
  for (const std::string& name : *names) {
    if (const auto epoch = number_in(name)) epochs.push_back(*epoch);
  }
  return epochs;
}

}  // namespace gridquant::node
