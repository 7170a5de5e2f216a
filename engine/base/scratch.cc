// Scratch memory over a file that has no name. The one file beside posix_env.cc that calls open(): a mapping has no
// place in Env, which other file systems implement.
#include "engine/base/scratch.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <vector>

namespace gridquant::base {
namespace {

class HeapScratch final : public ScratchMemory {
 public:
  explicit HeapScratch(size_t bytes) : memory_(bytes) {}
  std::span<std::byte> bytes() override { return memory_; }
  void release(size_t, size_t) override {}

 private:
  std::vector<std::byte> memory_;
};

class MappedScratch final : public ScratchMemory {
 public:
  MappedScratch(std::byte* data, size_t size) : data_(data), size_(size) {}
  ~MappedScratch() override { ::munmap(data_, size_); }
  MappedScratch(const MappedScratch&) = delete;
  MappedScratch& operator=(const MappedScratch&) = delete;
  std::span<std::byte> bytes() override { return {data_, size_}; }
  void release(size_t offset, size_t size) override {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const size_t begin = (offset + page - 1) / page * page;  // whole pages only: neighbours may be in use
    const size_t end = std::min(offset + size, size_) / page * page;
    if (begin < end) ::madvise(data_ + begin, end - begin, MADV_DONTNEED);  // of a shared mapping: nothing is lost
  }

 private:
  std::byte* data_;
  size_t size_;
};

Status failed(int error, const std::string& what) {
  const std::string reason = std::generic_category().message(error);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError("no space left on device while " + what +
                                        "; free some space and run the same command again");
  }
  return absl::UnavailableError(reason + " while " + what);
}

StatusOr<std::unique_ptr<ScratchMemory>> map(int fd, const std::string& path, size_t bytes) {
  int error;
  do {
    error = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));  // a full disk shows here, not as SIGBUS later
  } while (error == EINTR);
  if (error != 0) return failed(error, "making room of " + std::to_string(bytes) + " bytes in " + path);
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return failed(errno, "mapping " + path);
  return std::make_unique<MappedScratch>(static_cast<std::byte*>(data), bytes);
}

}  // namespace

StatusOr<std::unique_ptr<ScratchMemory>> make_scratch(Env& env, const std::string& path, size_t bytes) {
  // Through the Env first: its errors are the ones that everything else gives.
  GQ_ASSIGN_OR_RETURN(const auto probe, env.create(path));
  if (&env != &posix_env() || bytes == 0) {
    GQ_RETURN_IF_ERROR(env.remove_file(path));
    return std::make_unique<HeapScratch>(bytes);
  }
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  const int error = errno;
  GQ_RETURN_IF_ERROR(env.remove_file(path));
  if (fd < 0) return failed(error, "opening " + path);
  auto scratch = map(fd, path, bytes);
  ::close(fd);  // the mapping stays
  return scratch;
}

}  // namespace gridquant::base
