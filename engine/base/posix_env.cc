// The operating system's files. Nothing else in the program calls open().
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/base/env.h"
#include "engine/base/file_calls.h"

namespace gridquant::base {
namespace {

constexpr size_t kCopyChunkBytes = 1 << 20;
constexpr size_t kLargestTransfer = 1 << 30;  // read() and write() stop at 2 GiB by themselves

Status status_of(int error, std::string_view doing, const std::string& path) {
  const std::string what = std::string(doing) + " " + path;
  const std::string reason = std::generic_category().message(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError("no space left on device while " + what +
                                          "; free some space and run the same command again");
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(reason + " while " + what);
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(reason + " while " + what);
    case EISDIR:
    case EEXIST:
    case ENOTEMPTY:
    case ENAMETOOLONG:
    case ELOOP:
      return absl::FailedPreconditionError(reason + " while " + what);
    default:
      return absl::UnavailableError(reason + " while " + what);
  }
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

int open_retrying(const char* path, int flags, mode_t mode = 0) {
  int fd;
  do {
    fd = ::open(path, flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

class PosixFile final : public RandomAccessFile {
 public:
  PosixFile(std::string path, Descriptor fd, uint64_t size) : path_(std::move(path)), fd_(std::move(fd)), size_(size) {}

  uint64_t size() const override { return size_; }
  const std::string& path() const override { return path_; }

  Status read(uint64_t offset, std::span<std::byte> to) const override {
    const FileCall call;
    while (!to.empty()) {
      const ssize_t got = ::pread(fd_.get(), to.data(), std::min(to.size(), kLargestTransfer), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return status_of(errno, "reading", path_);
      if (got == 0)
        return absl::OutOfRangeError(path_ + ": the file ends at byte " + std::to_string(offset) + ", " +
                                     std::to_string(to.size()) + " bytes too early");
      offset += got;
      to = to.subspan(got);
    }
    return absl::OkStatus();
  }

 private:
  std::string path_;
  Descriptor fd_;
  uint64_t size_;
};

class PosixWritable final : public WritableFile {
 public:
  PosixWritable(std::string path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  Status append(std::span<const std::byte> data) override {
    const FileCall call;
    while (!data.empty()) {
      const ssize_t put = ::write(fd_.get(), data.data(), std::min(data.size(), kLargestTransfer));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return status_of(errno, "writing", path_);
      data = data.subspan(put);
    }
    return absl::OkStatus();
  }

  Status sync() override {
    const FileCall call;
    return ::fsync(fd_.get()) == 0 ? absl::OkStatus() : status_of(errno, "syncing", path_);
  }

  // Not retried after EINTR: Linux has closed the descriptor by then.
  Status close() override {
    const FileCall call;  // of a network file system: writes what is left
    return ::close(fd_.release()) == 0 || errno == EINTR ? absl::OkStatus() : status_of(errno, "closing", path_);
  }

 private:
  std::string path_;
  Descriptor fd_;
};

class PosixEnv final : public Env {
 public:
  StatusOr<std::unique_ptr<RandomAccessFile>> open(const std::string& path) override {
    // O_NONBLOCK: opening a pipe by mistake must not hang.
    Descriptor fd(open_retrying(path.c_str(), O_RDONLY | O_NONBLOCK));
    if (fd.get() < 0) return status_of(errno, "opening", path);
    struct stat about;
    if (::fstat(fd.get(), &about) != 0) return status_of(errno, "opening", path);
    if (!S_ISREG(about.st_mode)) return absl::FailedPreconditionError(path + " is not a regular file");
    return std::make_unique<PosixFile>(path, std::move(fd), about.st_size);
  }

  StatusOr<std::unique_ptr<WritableFile>> create(const std::string& path) override {
    Descriptor fd(open_retrying(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666));
    if (fd.get() < 0) return status_of(errno, "creating", path);
    return std::make_unique<PosixWritable>(path, std::move(fd));
  }

  StatusOr<std::unique_ptr<WritableFile>> extend(const std::string& path) override {
    Descriptor fd(open_retrying(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666));
    if (fd.get() < 0) return status_of(errno, "extending", path);
    return std::make_unique<PosixWritable>(path, std::move(fd));
  }

  StatusOr<std::vector<std::string>> list(const std::string& folder) override {
    std::vector<std::string> names;
    std::error_code error;
    std::filesystem::directory_iterator it(folder, error);
    for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error) return status_of(error.value(), "listing", folder);
    std::sort(names.begin(), names.end());
    return names;
  }

  StatusOr<uint64_t> file_size(const std::string& path) override {
    struct stat about;
    if (::stat(path.c_str(), &about) != 0) return status_of(errno, "looking at", path);
    if (!S_ISREG(about.st_mode)) return absl::FailedPreconditionError(path + " is not a regular file");
    return about.st_size;
  }

  bool exists(const std::string& path) override {
    struct stat about;
    return ::stat(path.c_str(), &about) == 0;
  }

  bool is_folder(const std::string& path) override {
    struct stat about;
    return ::stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode);
  }

  Status make_folders(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    return error ? status_of(error.value(), "making the folder", path) : absl::OkStatus();
  }

  Status rename(const std::string& from, const std::string& to) override {
    const FileCall call;
    return ::rename(from.c_str(), to.c_str()) == 0 ? absl::OkStatus()
                                                   : status_of(errno, "renaming " + from + " to", to);
  }

  Status remove_file(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 ? absl::OkStatus() : status_of(errno, "removing", path);
  }

  Status remove_tree(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    return error ? status_of(error.value(), "removing", path) : absl::OkStatus();
  }

  Status sync_folder(const std::string& path) override {
    const FileCall call;
    Descriptor fd(open_retrying(path.c_str(), O_RDONLY | O_DIRECTORY));
    if (fd.get() < 0) return status_of(errno, "opening the folder", path);
    // Some file systems cannot sync a folder and say EINVAL; their renames are as durable as they will be.
    if (::fsync(fd.get()) != 0 && errno != EINVAL) return status_of(errno, "syncing the folder", path);
    return absl::OkStatus();
  }

  Status link_or_copy(const std::string& from, const std::string& to) override {
    if (link(from, to)) return absl::OkStatus();
    if (errno == EEXIST) {
      std::error_code error;
      if (std::filesystem::equivalent(from, to, error)) return absl::OkStatus();
      if (::unlink(to.c_str()) != 0) return status_of(errno, "replacing", to);
      if (link(from, to)) return absl::OkStatus();
    }
    switch (errno) {
      case EXDEV:
      case EPERM:
      case EMLINK:
      case EOPNOTSUPP:
      case ENOSYS:
        return copy(from, to);
      default:
        return status_of(errno, "linking " + from + " to", to);
    }
  }

  StatusOr<uint64_t> free_bytes(const std::string& path) override {
    std::string at = path.empty() ? "." : path;
    while (!exists(at) && at != folder_of(at)) at = folder_of(at);  // the folder is often not made yet
    struct statvfs about;
    if (::statvfs(at.c_str(), &about) != 0) return status_of(errno, "asking for free space of", path);
    return static_cast<uint64_t>(about.f_bavail) * about.f_frsize;
  }

 private:
  static bool link(const std::string& from, const std::string& to) {
    return ::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW) == 0;
  }

  Status copy(const std::string& from, const std::string& to) {
    GQ_ASSIGN_OR_RETURN(auto source, open(from));
    GQ_ASSIGN_OR_RETURN(auto target, create(to));
    std::vector<std::byte> chunk(std::min<uint64_t>(kCopyChunkBytes, source->size()));
    for (uint64_t at = 0; at < source->size();) {
      const std::span<std::byte> part(chunk.data(), std::min<uint64_t>(chunk.size(), source->size() - at));
      GQ_RETURN_IF_ERROR(source->read(at, part));
      GQ_RETURN_IF_ERROR(target->append(part));
      at += part.size();
    }
    GQ_RETURN_IF_ERROR(target->sync());
    return target->close();
  }
};

}  // namespace

Env& posix_env() {
  static PosixEnv env;  // stateless
  return env;
}

}  // namespace gridquant::base
