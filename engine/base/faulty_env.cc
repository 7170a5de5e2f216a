// An Env that asks a function before each operation whether it may go on. A test counts operations with it, fails the
// k-th one, or fails everything from the k-th on (what a kill -9 looks like to the files).
#include <utility>

#include "engine/base/env.h"

namespace gridquant::base {
namespace {

class FaultyFile final : public RandomAccessFile {
 public:
  FaultyFile(std::unique_ptr<RandomAccessFile> base, std::shared_ptr<const FaultFn> fault)
      : base_(std::move(base)), fault_(std::move(fault)) {}
  uint64_t size() const override { return base_->size(); }
  const std::string& path() const override { return base_->path(); }
  Status read(uint64_t offset, std::span<std::byte> to) const override {
    GQ_RETURN_IF_ERROR((*fault_)("read", base_->path()));
    return base_->read(offset, to);
  }

 private:
  std::unique_ptr<RandomAccessFile> base_;
  std::shared_ptr<const FaultFn> fault_;
};

class FaultyWritable final : public WritableFile {
 public:
  FaultyWritable(std::string path, std::unique_ptr<WritableFile> base, std::shared_ptr<const FaultFn> fault)
      : path_(std::move(path)), base_(std::move(base)), fault_(std::move(fault)) {}
  Status append(std::span<const std::byte> data) override {
    GQ_RETURN_IF_ERROR((*fault_)("append", path_));
    return base_->append(data);
  }
  Status sync() override {
    GQ_RETURN_IF_ERROR((*fault_)("sync", path_));
    return base_->sync();
  }
  Status close() override { return base_->close(); }

 private:
  std::string path_;
  std::unique_ptr<WritableFile> base_;
  std::shared_ptr<const FaultFn> fault_;
};

class FaultyEnv final : public Env {
 public:
  FaultyEnv(Env& base, FaultFn fault) : base_(base), fault_(std::make_shared<const FaultFn>(std::move(fault))) {}

  StatusOr<std::unique_ptr<RandomAccessFile>> open(const std::string& path) override {
    GQ_ASSIGN_OR_RETURN(auto file, base_.open(path));
    return std::make_unique<FaultyFile>(std::move(file), fault_);
  }
  StatusOr<std::unique_ptr<WritableFile>> create(const std::string& path) override {
    GQ_RETURN_IF_ERROR((*fault_)("create", path));
    GQ_ASSIGN_OR_RETURN(auto file, base_.create(path));
    return std::make_unique<FaultyWritable>(path, std::move(file), fault_);
  }
  StatusOr<std::unique_ptr<WritableFile>> extend(const std::string& path) override {
    GQ_RETURN_IF_ERROR((*fault_)("extend", path));
    GQ_ASSIGN_OR_RETURN(auto file, base_.extend(path));
    return std::make_unique<FaultyWritable>(path, std::move(file), fault_);
  }
  StatusOr<std::vector<std::string>> list(const std::string& folder) override { return base_.list(folder); }
  StatusOr<uint64_t> file_size(const std::string& path) override { return base_.file_size(path); }
  bool exists(const std::string& path) override { return base_.exists(path); }
  bool is_folder(const std::string& path) override { return base_.is_folder(path); }
  Status make_folders(const std::string& path) override {
    GQ_RETURN_IF_ERROR((*fault_)("make_folders", path));
    return base_.make_folders(path);
  }
  Status rename(const std::string& from, const std::string& to) override {
    GQ_RETURN_IF_ERROR((*fault_)("rename", to));
    return base_.rename(from, to);
  }
  Status remove_file(const std::string& path) override {
    GQ_RETURN_IF_ERROR((*fault_)("remove", path));
    return base_.remove_file(path);
  }
  Status remove_tree(const std::string& path) override {
    GQ_RETURN_IF_ERROR((*fault_)("remove", path));
    return base_.remove_tree(path);
  }
  Status sync_folder(const std::string& path) override {
    GQ_RETURN_IF_ERROR((*fault_)("sync_folder", path));
    return base_.sync_folder(path);
  }
  Status link_or_copy(const std::string& from, const std::string& to) override {
    GQ_RETURN_IF_ERROR((*fault_)("link", to));
    return base_.link_or_copy(from, to);
  }
  StatusOr<uint64_t> free_bytes(const std::string& path) override { return base_.free_bytes(path); }

 private:
  Env& base_;
  std::shared_ptr<const FaultFn> fault_;
};

}  // namespace

std::unique_ptr<Env> make_faulty_env(Env& base, FaultFn fault) {
  return std::make_unique<FaultyEnv>(base, std::move(fault));
}

}  // namespace gridquant::base
