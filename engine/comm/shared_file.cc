// memfd_create, and its way to other processes.
#include "engine/comm/shared_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace gridquant::comm {
namespace {

Status failed(const std::string& what) {
  return absl::UnavailableError(absl::StrCat("shared memory: ", what, ": ", std::strerror(errno)));
}

// So many files as this process has made.
std::atomic<int> count{0};

StatusOr<SharedMemory> map(int descriptor, size_t bytes) {
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor, 0);
  if (data == MAP_FAILED) return failed("mapping");
  return SharedMemory{{static_cast<std::byte*>(data), bytes},
                      std::shared_ptr<void>(data, [bytes](void* p) { ::munmap(p, bytes); })};
}

}  // namespace

SharedFile::Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

StatusOr<SharedFile> SharedFile::make(size_t bytes) {
  rlimit largest{};  // beyond it, sizing a file is a signal
  if (::getrlimit(RLIMIT_FSIZE, &largest) == 0 && largest.rlim_cur < bytes) {
    return absl::UnavailableError("shared memory: it would be larger than a file may be here");
  }
  SharedFile file;
  // A process of another container may have the same number, but did not begin this file at the same moment.
  const std::string name = absl::StrCat("gridquant-", ::getpid(), "-", ++count, "-",
                                        std::chrono::system_clock::now().time_since_epoch().count());
  std::ranges::copy(name.substr(0, file.address_.name.size() - 1), file.address_.name.begin());
  const int descriptor = ::memfd_create(name.c_str(), MFD_CLOEXEC);
  if (descriptor < 0) return failed("making");
  file.descriptor_ = Descriptor(descriptor);
  file.address_.process = ::getpid();
  file.address_.descriptor = descriptor;
  if (::ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) return failed("sizing");
  GQ_ASSIGN_OR_RETURN(file.memory_, map(descriptor, bytes));
  return file;
}

// A process of this number may be another one, and its descriptor anything: it is opened only if it has the name.
StatusOr<SharedMemory> SharedFile::open(const Address& address, size_t bytes) {
  const std::string path = absl::StrCat("/proc/", address.process, "/fd/", address.descriptor);
  std::array<char, 128> link{};
  if (::readlink(path.c_str(), link.data(), link.size() - 1) < 0) return failed(path);
  if (std::string(link.data()).find(std::string(address.name.data())) == std::string::npos) {
    return absl::UnavailableError(absl::StrCat("shared memory: ", path, " is another file"));
  }
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return failed(path);
  const Descriptor close_later(descriptor);
  return map(descriptor, bytes);
}

}  // namespace gridquant::comm
