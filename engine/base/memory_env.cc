// Files in a map: fast, private, gone with the object. It behaves as a POSIX file system does where programs notice:
// a folder must exist before a file is made in it, an open file outlives its name, names are normalised ("a//b/../c").
// Links, permissions and time stamps do not exist.
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/env.h"

namespace gridquant::base {
namespace {

struct Content {
  mutable absl::Mutex mutex;
  std::string bytes ABSL_GUARDED_BY(mutex);
};

std::string normal(const std::string& path) {
  std::string name = std::filesystem::path(path.empty() ? "." : path).lexically_normal().string();
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  return name;
}

bool is_inside(const std::string& path, const std::string& folder) {
  if (folder == "/") return path.size() > 1 && path[0] == '/';
  if (folder == ".") return path != "." && path[0] != '/';
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

class MemoryFile final : public RandomAccessFile {
 public:
  MemoryFile(std::string path, std::shared_ptr<Content> content)
      : path_(std::move(path)), content_(std::move(content)) {
    absl::MutexLock lock(&content_->mutex);
    size_ = content_->bytes.size();
  }
  uint64_t size() const override { return size_; }
  const std::string& path() const override { return path_; }

  Status read(uint64_t offset, std::span<std::byte> to) const override {
    absl::MutexLock lock(&content_->mutex);
    if (offset > content_->bytes.size() || to.size() > content_->bytes.size() - offset) {
      return absl::OutOfRangeError(path_ + ": the file ends at byte " + std::to_string(content_->bytes.size()));
    }
    if (!to.empty()) std::memcpy(to.data(), content_->bytes.data() + offset, to.size());
    return absl::OkStatus();
  }

 private:
  std::string path_;
  std::shared_ptr<Content> content_;
  uint64_t size_ = 0;
};

class MemoryWritable final : public WritableFile {
 public:
  explicit MemoryWritable(std::shared_ptr<Content> content) : content_(std::move(content)) {}
  Status append(std::span<const std::byte> data) override {
    absl::MutexLock lock(&content_->mutex);
    content_->bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
    return absl::OkStatus();
  }
  Status sync() override { return absl::OkStatus(); }
  Status close() override { return absl::OkStatus(); }

 private:
  std::shared_ptr<Content> content_;
};

class MemoryEnv final : public Env {
 public:
  StatusOr<std::unique_ptr<RandomAccessFile>> open(const std::string& path) override {
    absl::MutexLock lock(&mutex_);
    GQ_ASSIGN_OR_RETURN(auto content, find(path, "opening"));
    return std::make_unique<MemoryFile>(path, std::move(content));
  }

  StatusOr<std::unique_ptr<WritableFile>> create(const std::string& path) override {
    absl::MutexLock lock(&mutex_);
    GQ_RETURN_IF_ERROR(check_target(path, "creating"));
    auto& content = files_[normal(path)];
    if (content == nullptr) content = std::make_shared<Content>();
    absl::MutexLock content_lock(&content->mutex);
    content->bytes.clear();
    return std::make_unique<MemoryWritable>(content);
  }

  StatusOr<std::unique_ptr<WritableFile>> extend(const std::string& path) override {
    absl::MutexLock lock(&mutex_);
    GQ_RETURN_IF_ERROR(check_target(path, "extending"));
    auto& content = files_[normal(path)];
    if (content == nullptr) content = std::make_shared<Content>();
    return std::make_unique<MemoryWritable>(content);
  }

  StatusOr<std::vector<std::string>> list(const std::string& folder) override {
    absl::MutexLock lock(&mutex_);
    if (!folders_.contains(normal(folder))) return absent(folder, "listing");
    std::set<std::string> names;
    for (const auto& [path, content] : files_) {
      if (folder_of(path) == normal(folder)) names.insert(file_name_of(path));
    }
    for (const std::string& path : folders_) {
      if (path != "." && path != "/" && folder_of(path) == normal(folder)) names.insert(file_name_of(path));
    }
    return std::vector<std::string>(names.begin(), names.end());
  }

  StatusOr<uint64_t> file_size(const std::string& path) override {
    absl::MutexLock lock(&mutex_);
    GQ_ASSIGN_OR_RETURN(auto content, find(path, "looking at"));
    absl::MutexLock content_lock(&content->mutex);
    return content->bytes.size();
  }

  bool exists(const std::string& path) override {
    absl::MutexLock lock(&mutex_);
    return folders_.contains(normal(path)) || files_.contains(normal(path));
  }

  bool is_folder(const std::string& path) override {
    absl::MutexLock lock(&mutex_);
    return folders_.contains(normal(path));
  }

  Status make_folders(const std::string& path) override {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string> missing;
    for (std::string at = normal(path); !folders_.contains(at); at = folder_of(at)) {
      if (files_.contains(at)) return absl::NotFoundError("Not a directory while making the folder " + path);
      missing.push_back(at);
    }
    folders_.insert(missing.begin(), missing.end());
    return absl::OkStatus();
  }

  Status rename(const std::string& from, const std::string& to) override {
    absl::MutexLock lock(&mutex_);
    if (folders_.contains(normal(from))) return rename_folder(normal(from), normal(to));
    GQ_ASSIGN_OR_RETURN(auto content, find(from, "renaming"));
    GQ_RETURN_IF_ERROR(check_target(to, "renaming " + from + " to"));
    files_.erase(normal(from));
    files_[normal(to)] = std::move(content);
    return absl::OkStatus();
  }

  Status remove_file(const std::string& path) override {
    absl::MutexLock lock(&mutex_);
    GQ_RETURN_IF_ERROR(find(path, "removing").status());
    files_.erase(normal(path));
    return absl::OkStatus();
  }

  Status remove_tree(const std::string& path) override {
    absl::MutexLock lock(&mutex_);
    const std::string root = normal(path);
    const auto doomed = [&](const std::string& name) { return name == root || is_inside(name, root); };
    std::erase_if(files_, [&](const auto& file) { return doomed(file.first); });
    std::erase_if(folders_, [&](const std::string& name) { return name != "." && name != "/" && doomed(name); });
    return absl::OkStatus();
  }

  Status sync_folder(const std::string& path) override {
    return is_folder(path) ? absl::OkStatus() : absent(path, "syncing the folder");
  }

  Status link_or_copy(const std::string& from, const std::string& to) override {
    absl::MutexLock lock(&mutex_);
    GQ_ASSIGN_OR_RETURN(auto content, find(from, "linking"));
    GQ_RETURN_IF_ERROR(check_target(to, "linking " + from + " to"));
    files_[normal(to)] = std::move(content);
    return absl::OkStatus();
  }

  StatusOr<uint64_t> free_bytes(const std::string&) override { return uint64_t{1} << 40; }

 private:
  static Status absent(const std::string& path, std::string_view doing) {
    return absl::NotFoundError("No such file or directory while " + std::string(doing) + " " + path);
  }

  StatusOr<std::shared_ptr<Content>> find(const std::string& path, std::string_view doing) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (folders_.contains(normal(path))) return absl::FailedPreconditionError(path + " is not a regular file");
    const auto it = files_.find(normal(path));
    if (it == files_.end()) return absent(path, doing);
    return it->second;
  }

  // May a file of this name be made?
  Status check_target(const std::string& path, std::string_view doing) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (folders_.contains(normal(path))) return absl::FailedPreconditionError(path + " is a folder");
    if (!folders_.contains(folder_of(normal(path)))) return absent(path, doing);
    return absl::OkStatus();
  }

  Status rename_folder(const std::string& from, const std::string& to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (from == to) return absl::OkStatus();
    if (is_inside(to, from)) return absl::FailedPreconditionError(to + " is inside " + from);
    if (files_.contains(to)) return absl::NotFoundError("Not a directory while renaming " + from + " to " + to);
    if (!folders_.contains(folder_of(to))) return absent(to, "renaming " + from + " to");
    const auto in_target = [&](const std::string& name) { return is_inside(name, to); };
    for (const auto& [name, content] : files_) {
      if (in_target(name)) return absl::FailedPreconditionError("Directory not empty while renaming to " + to);
    }
    for (const std::string& name : folders_) {
      if (in_target(name)) return absl::FailedPreconditionError("Directory not empty while renaming to " + to);
    }
    std::map<std::string, std::shared_ptr<Content>> files;
    for (auto& [name, content] : files_) {
      files[is_inside(name, from) ? to + name.substr(from.size()) : name] = std::move(content);
    }
    std::set<std::string> folders;
    for (const std::string& name : folders_) {
      folders.insert(name == from || is_inside(name, from) ? to + name.substr(from.size()) : name);
    }
    files_ = std::move(files);
    folders_ = std::move(folders);
    return absl::OkStatus();
  }

  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<Content>> files_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> folders_ ABSL_GUARDED_BY(mutex_) = {".", "/"};
};

}  // namespace

std::unique_ptr<Env> make_memory_env() {
  return std::make_unique<MemoryEnv>();
}

}  // namespace gridquant::base
