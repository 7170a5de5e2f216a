// Ranks as processes under MPI: a thin translation, and the only file that knows mpi.h. Everything is started without
// blocking and then waited for with a deadline: an MPI that has lost a peer may never return by itself.
#include <mpi.h>

#include <algorithm>
#include <array>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/comm/communicator.h"
#include "engine/comm/shared_file.h"

namespace gridquant::comm {
namespace {

constexpr size_t kMaxMessage = size_t{1} << 30;  // MPI counts in int
constexpr int kTag = 1;
// How a wait goes: at first it only looks, because MPI moves a message's pieces while somebody looks; then it sleeps
// between looks, for the other ranks may need this core.
constexpr std::chrono::microseconds kLook{2000}, kSleep{50};

Status to_status(int code, const char* what) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return absl::AbortedError(absl::StrCat("MPI ", what, ": ", std::string(text, static_cast<size_t>(length))));
}

class MpiComm final : public Communicator {
 public:
  explicit MpiComm(void (*on_wait)()) : on_wait_(on_wait) {}
  ~MpiComm() override { MPI_Finalize(); }

  Status start() {
    GQ_RETURN_IF_ERROR(to_status(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "error handler"));
    GQ_RETURN_IF_ERROR(to_status(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "rank"));
    GQ_RETURN_IF_ERROR(to_status(MPI_Comm_size(MPI_COMM_WORLD, &size_), "size"));
    return count_local_ranks();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_size() const override { return local_size_; }

  // By the machines' names: where several nodes are on one machine, as in tests, MPI_Comm_split_type gives its ranks
  // different answers, and then waits for ever.
  Status count_local_ranks() {
    using Name = std::array<char, MPI_MAX_PROCESSOR_NAME>;
    Name own = {};
    int length = 0;
    GQ_RETURN_IF_ERROR(to_status(MPI_Get_processor_name(own.data(), &length), "machine's name"));
    std::vector<Name> all(static_cast<size_t>(size_));
    const int bytes = static_cast<int>(sizeof(Name));
    GQ_RETURN_IF_ERROR(to_status(
        MPI_Allgather(own.data(), bytes, MPI_CHAR, all.data(), bytes, MPI_CHAR, MPI_COMM_WORLD), "local ranks"));
    local_size_ = static_cast<int>(std::count(all.begin(), all.end(), own));
    return absl::OkStatus();
  }

  Status barrier() override {
    if (size_ == 1) return absl::OkStatus();
    std::vector<MPI_Request> requests(1);
    GQ_RETURN_IF_ERROR(to_status(MPI_Ibarrier(MPI_COMM_WORLD, requests.data()), "barrier"));
    return wait(requests, "barrier");
  }

  Status broadcast(std::span<std::byte> data, int root) override {
    if (size_ == 1) return absl::OkStatus();
    for (size_t begin = 0; begin < data.size(); begin += kMaxMessage) {
      const std::span<std::byte> part = data.subspan(begin, std::min(kMaxMessage, data.size() - begin));
      std::vector<MPI_Request> requests(1);
      GQ_RETURN_IF_ERROR(to_status(
          MPI_Ibcast(part.data(), static_cast<int>(part.size()), MPI_BYTE, root, MPI_COMM_WORLD, requests.data()),
          "broadcast"));
      GQ_RETURN_IF_ERROR(wait(requests, "broadcast"));
    }
    return absl::OkStatus();
  }

  Status all_gather(std::span<std::byte> all, std::span<const size_t> counts) override {
    std::vector<std::span<std::byte>> from;
    size_t begin = 0;
    for (const size_t count : counts) {
      from.push_back(all.subspan(begin, count));
      begin += count;
    }
    const std::span<const std::byte> own = from[static_cast<size_t>(rank_)];
    const std::vector<std::span<const std::byte>> to(static_cast<size_t>(size_), own);
    return move(to, from, "all-gather");
  }

  Status exchange(std::span<const std::span<const std::byte>> to, std::span<const std::span<std::byte>> from) override {
    const auto own = static_cast<size_t>(rank_);
    if (to[own].size() != from[own].size()) return absl::InternalError("exchange: a rank's own piece has two sizes");
    std::ranges::copy(to[own], from[own].begin());
    return move(to, from, "exchange");
  }

  StatusOr<SharedMemory> share(size_t bytes) override {
    if (size_ == 1 || local_size_ < size_) return SharedMemory();
    StatusOr<SharedFile> made = absl::UnavailableError("another rank's");
    SharedFile::Address address;
    if (rank_ == 0) made = SharedFile::make(bytes);
    if (made.ok()) address = made->address();
    GQ_RETURN_IF_ERROR(broadcast(std::as_writable_bytes(std::span(&address, 1)), 0));
    SharedMemory memory;
    if (made.ok()) memory = made->memory();
    if (rank_ != 0 && address.descriptor >= 0) {
      StatusOr<SharedMemory> opened = SharedFile::open(address, bytes);
      if (opened.ok()) memory = *std::move(opened);
    }
    std::vector<uint8_t> seen(static_cast<size_t>(size_));
    seen[static_cast<size_t>(rank_)] = memory.owner != nullptr;
    GQ_RETURN_IF_ERROR(
        all_gather(std::as_writable_bytes(std::span(seen)), std::vector<size_t>(seen.size(), sizeof(seen[0]))));
    return std::ranges::count(seen, 1) == size_ ? memory : SharedMemory();
  }
  bool wait_sign() override {
    if (on_wait_ != nullptr) on_wait_();
    return true;
  }

  void end_all(int exit_code) override { MPI_Abort(MPI_COMM_WORLD, exit_code); }

  std::chrono::milliseconds set_timeout(std::chrono::milliseconds timeout) override {
    return std::exchange(timeout_, timeout);
  }

 private:
  // Every pair of ranks at once. Messages between two ranks come in the order in which they were sent.
  Status move(std::span<const std::span<const std::byte>> to, std::span<const std::span<std::byte>> from,
              const char* what) {
    std::vector<MPI_Request> requests;
    for (int step = 1; step < size_; ++step) {
      const int peer = (rank_ + size_ - step) % size_;
      const std::span<std::byte> data = from[static_cast<size_t>(peer)];
      for (size_t begin = 0; begin < data.size(); begin += kMaxMessage) {
        const int count = static_cast<int>(std::min(kMaxMessage, data.size() - begin));
        GQ_RETURN_IF_ERROR(to_status(
            MPI_Irecv(data.data() + begin, count, MPI_BYTE, peer, kTag, MPI_COMM_WORLD, &requests.emplace_back()),
            what));
      }
    }
    for (int step = 1; step < size_; ++step) {
      const int peer = (rank_ + step) % size_;
      const std::span<const std::byte> data = to[static_cast<size_t>(peer)];
      for (size_t begin = 0; begin < data.size(); begin += kMaxMessage) {
        const int count = static_cast<int>(std::min(kMaxMessage, data.size() - begin));
        GQ_RETURN_IF_ERROR(to_status(
            MPI_Isend(data.data() + begin, count, MPI_BYTE, peer, kTag, MPI_COMM_WORLD, &requests.emplace_back()),
            what));
      }
    }
    return wait(requests, what);
  }

  Status wait(std::vector<MPI_Request>& requests, const char* what) {
    const auto begin = std::chrono::steady_clock::now();
    while (true) {
      int done = 0;
      const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE);
      if (code != MPI_SUCCESS) return to_status(code, what);
      if (done != 0) return absl::OkStatus();
      const auto waited = std::chrono::steady_clock::now() - begin;
      if (waited < kLook) continue;
      if (waited > timeout_) {
        return absl::DeadlineExceededError(absl::StrCat("rank ", rank_, ": the other ranks did not come to the ", what,
                                                        " within ", timeout_.count() / 1000, " s"));
      }
      if (on_wait_ != nullptr) on_wait_();
      std::this_thread::sleep_for(kSleep);
    }
  }

  void (*on_wait_)();
  int rank_ = 0;
  int size_ = 1;
  int local_size_ = 1;
  std::chrono::milliseconds timeout_ = kTimeout;
};

}  // namespace

StatusOr<std::unique_ptr<Communicator>> make_mpi(void (*on_wait)()) {
  int provided = MPI_THREAD_SINGLE;
  const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  if (code != MPI_SUCCESS) return to_status(code, "start");
  auto comm = std::make_unique<MpiComm>(on_wait);
  if (provided < MPI_THREAD_FUNNELED) {
    return absl::UnimplementedError("this MPI does not allow a process to have threads (MPI_THREAD_FUNNELED)");
  }
  GQ_RETURN_IF_ERROR(comm->start());
  return comm;
}

}  // namespace gridquant::comm
