// See log_store.h.
#include "coordinator/control/log_store.h"

#include <algorithm>
#include <span>

#include "engine/base/log.h"

namespace gridquant::control {
namespace {

constexpr size_t kMaxRemembered = 10'000;
constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

bool is_plain(std::string_view part) {
  return !part.empty() && part.size() <= 255 && part.front() != '.' &&
         part.find_first_not_of(kAllowed) == std::string_view::npos;
}

}  // namespace

StatusOr<std::string> LogStore::path_of(const std::string& name) const {
  size_t parts = 0;
  for (size_t start = 0; start <= name.size(); ++parts) {
    const size_t end = std::min(name.find('/', start), name.size());
    if (!is_plain(std::string_view(name).substr(start, end - start))) {
      return absl::InvalidArgumentError("'" + name + "' is no name of a log");
    }
    start = end + 1;
  }
  if (parts != 3) return absl::InvalidArgumentError("'" + name + "' is no name of a log (RUN/STAGE/attempt-N)");
  return workdir_ + "/runs/" + name + ".log";
}

StatusOr<uint64_t> LogStore::append(const std::string& name, uint64_t offset, std::string_view data, bool last) {
  GQ_ASSIGN_OR_RETURN(const std::string path, path_of(name));
  absl::MutexLock lock(&mutex_);
  StatusOr<uint64_t> written = write(path, offset, data);
  if (!written.ok()) {
    if (trouble_.ok()) {
      base::log(base::LogLevel::kWarning,
                "logs of runs cannot be written: " + std::string(written.status().message()) +
                    "; runs go on, and their nodes keep what they have and send it again");
    }
    trouble_ = written.status();
    return absl::UnavailableError(trouble_.message());
  }
  const bool whole = *written == offset + data.size();
  if (whole && !data.empty() && !trouble_.ok()) {
    base::log(base::LogLevel::kInfo, "logs of runs are written again");
    trouble_ = absl::OkStatus();
  }
  if (last && whole) {
    if (complete_.size() >= kMaxRemembered) complete_.clear();
    complete_.insert(name);
  }
  return written;
}

Status LogStore::trouble() {
  absl::MutexLock lock(&mutex_);
  return trouble_;
}

StatusOr<uint64_t> LogStore::write(const std::string& path, uint64_t offset, std::string_view data) {
  uint64_t there = 0;
  if (env_.exists(path)) {
    GQ_ASSIGN_OR_RETURN(there, env_.file_size(path));
  } else {
    GQ_RETURN_IF_ERROR(env_.make_folders(base::folder_of(path)));
  }
  if (there >= kMaxBytes) return offset + data.size();
  // The beginning of a piece may be there already.
  if (offset > there || offset + data.size() < there) return there;
  data.remove_prefix(there - offset);
  if (!data.empty()) {
    GQ_ASSIGN_OR_RETURN(const auto file, env_.extend(path));
    GQ_RETURN_IF_ERROR(file->append(std::as_bytes(std::span<const char>(data.data(), data.size()))));
    GQ_RETURN_IF_ERROR(file->close());
  }
  return there + data.size();
}

StatusOr<uint64_t> LogStore::size(const std::string& name) {
  GQ_ASSIGN_OR_RETURN(const std::string path, path_of(name));
  if (!env_.exists(path)) return 0;
  return env_.file_size(path);
}

StatusOr<std::string> LogStore::read(const std::string& name, uint64_t offset, size_t most) {
  GQ_ASSIGN_OR_RETURN(const std::string path, path_of(name));
  if (!env_.exists(path)) return "";
  GQ_ASSIGN_OR_RETURN(const auto file, env_.open(path));
  if (offset >= file->size()) return "";
  std::string text(std::min<uint64_t>(most, file->size() - offset), '\0');
  GQ_RETURN_IF_ERROR(file->read(offset, std::as_writable_bytes(std::span<char>(text.data(), text.size()))));
  return text;
}

bool LogStore::is_complete(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  return complete_.count(name) != 0;
}

Status LogStore::remove_run(const std::string& run) {
  if (!is_plain(run)) return absl::InvalidArgumentError("'" + run + "' is no name of a run");
  return env_.remove_tree(workdir_ + "/runs/" + run);
}

}  // namespace gridquant::control
