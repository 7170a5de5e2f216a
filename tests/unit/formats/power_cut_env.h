// A file system in memory whose power can be cut: what was not synced is lost, or not, as a seed decides.
//   content: survives up to the last sync(); of what was appended after it, a random part survives
//   names:   creations, renames and removals survive from the sync_folder() of their folder on; before, each one by
//            chance, in any order
// Folders are always there. Single-threaded; for tests only.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "engine/base/env.h"

namespace gridquant::formats {

class PowerCutEnv : public base::Env {
 public:
  void cut_power(uint32_t seed) {
    std::mt19937 random(seed);
    std::set<std::string> paths;
    for (const auto& [path, file] : now_) paths.insert(path);
    for (const auto& [path, file] : synced_) paths.insert(path);
    for (const std::string& path : paths) {
      const auto now = now_.find(path);
      const auto before = synced_.find(path);
      const bool same = now != now_.end() && before != synced_.end() && now->second == before->second;
      if (same || random() % 2 == 0) continue;  // the new state of this name reached the disk
      if (before != synced_.end()) {
        now_[path] = before->second;
      } else {
        now_.erase(path);
      }
    }
    synced_ = now_;
    for (auto& [path, file] : now_) {
      const size_t extra = file->data.size() - std::min(file->durable_bytes, file->data.size());
      file->data.resize(std::min(file->durable_bytes, file->data.size()) + random() % (extra + 1));
      file->durable_bytes = file->data.size();
    }
  }

  StatusOr<std::unique_ptr<base::RandomAccessFile>> open(const std::string& path) override {
    const auto it = now_.find(path);
    if (it == now_.end()) return absl::NotFoundError(path);
    return std::make_unique<Reader>(path, it->second);
  }
  StatusOr<std::unique_ptr<base::WritableFile>> create(const std::string& path) override {
    auto& file = now_[path];
    if (file == nullptr) file = std::make_shared<File>();
    file->data.clear();  // truncation reaches the disk at once: the worst case
    file->durable_bytes = 0;
    return std::make_unique<Writer>(file);
  }
  StatusOr<std::unique_ptr<base::WritableFile>> extend(const std::string& path) override {
    auto& file = now_[path];
    if (file == nullptr) file = std::make_shared<File>();
    return std::make_unique<Writer>(file);
  }
  StatusOr<std::vector<std::string>> list(const std::string& folder) override {
    std::set<std::string> names;
    for (const auto& [path, file] : now_) {
      if (!path.starts_with(folder + "/")) continue;
      const std::string below = path.substr(folder.size() + 1);
      names.insert(below.substr(0, below.find('/')));
    }
    return std::vector<std::string>(names.begin(), names.end());
  }
  StatusOr<uint64_t> file_size(const std::string& path) override {
    const auto it = now_.find(path);
    if (it == now_.end()) return absl::NotFoundError(path);
    return it->second->data.size();
  }
  bool exists(const std::string& path) override { return now_.contains(path) || is_folder(path); }
  bool is_folder(const std::string& path) override {
    const auto it = now_.lower_bound(path + "/");
    return it != now_.end() && it->first.starts_with(path + "/");
  }
  Status make_folders(const std::string&) override { return absl::OkStatus(); }
  Status rename(const std::string& from, const std::string& to) override {
    const auto it = now_.find(from);
    if (it == now_.end()) return absl::NotFoundError(from);
    now_[to] = it->second;
    now_.erase(from);
    return absl::OkStatus();
  }
  Status remove_file(const std::string& path) override {
    return now_.erase(path) == 1 ? absl::OkStatus() : absl::NotFoundError(path);
  }
  Status remove_tree(const std::string& path) override {
    std::erase_if(now_, [&](const auto& entry) { return entry.first == path || entry.first.starts_with(path + "/"); });
    return absl::OkStatus();
  }
  Status sync_folder(const std::string& folder) override {
    std::erase_if(synced_, [&](const auto& entry) { return base::folder_of(entry.first) == folder; });
    for (const auto& [path, file] : now_) {
      if (base::folder_of(path) == folder) synced_[path] = file;
    }
    return absl::OkStatus();
  }
  Status link_or_copy(const std::string& from, const std::string& to) override {
    now_[to] = now_.at(from);
    return absl::OkStatus();
  }
  StatusOr<uint64_t> free_bytes(const std::string&) override { return uint64_t{1} << 40; }

 private:
  struct File {
    std::string data;
    size_t durable_bytes = 0;
  };

  class Reader final : public base::RandomAccessFile {
   public:
    Reader(std::string path, std::shared_ptr<const File> file) : path_(std::move(path)), file_(std::move(file)) {}
    uint64_t size() const override { return file_->data.size(); }
    const std::string& path() const override { return path_; }
    Status read(uint64_t offset, std::span<std::byte> to) const override {
      if (offset + to.size() > file_->data.size()) return absl::OutOfRangeError(path_);
      std::copy_n(reinterpret_cast<const std::byte*>(file_->data.data()) + offset, to.size(), to.begin());
      return absl::OkStatus();
    }

   private:
    std::string path_;
    std::shared_ptr<const File> file_;
  };

  class Writer final : public base::WritableFile {
   public:
    explicit Writer(std::shared_ptr<File> file) : file_(std::move(file)) {}
    Status append(std::span<const std::byte> data) override {
      file_->data.append(reinterpret_cast<const char*>(data.data()), data.size());
      return absl::OkStatus();
    }
    Status sync() override {
      file_->durable_bytes = file_->data.size();
      return absl::OkStatus();
    }
    Status close() override { return absl::OkStatus(); }

   private:
    std::shared_ptr<File> file_;
  };

  std::map<std::string, std::shared_ptr<File>> now_;
  std::map<std::string, std::shared_ptr<File>> synced_;
};

}  // namespace gridquant::formats
