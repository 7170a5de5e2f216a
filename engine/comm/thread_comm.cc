// Ranks on threads of one process. An operation is: every rank shows where its memory is, all meet, everyone copies
// what is for it, all meet again.
#include <cstring>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/comm/communicator.h"
#include "engine/comm/shared_file.h"

namespace gridquant::comm {
namespace {

class Team {
 public:
  Team(int size, int machines) : shown_(static_cast<size_t>(size)), size_(size), machines_(machines) {}
  int size() const { return size_; }
  int machines() const { return machines_; }
  int machine_of(int rank) const { return rank * machines_ / size_; }

  // Rank's memory, for the others to look at between two meetings.
  void show(int rank, std::vector<std::span<const std::byte>> memory) {
    absl::MutexLock lock(&mutex_);
    shown_[static_cast<size_t>(rank)] = std::move(memory);
  }
  std::span<const std::byte> shown(int rank, int index) {
    absl::MutexLock lock(&mutex_);
    return shown_[static_cast<size_t>(rank)][static_cast<size_t>(index)];
  }

  Status meet(std::chrono::milliseconds timeout) {
    absl::MutexLock lock(&mutex_);
    if (!status_.ok()) return status_;
    const uint64_t round = round_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++round_;
      return absl::OkStatus();
    }
    const auto over = [this, round]()
                          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return round_ != round || !status_.ok(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&over), absl::FromChrono(timeout))) {
      status_ = absl::DeadlineExceededError(
          absl::StrCat("only ", arrived_, " of ", size_, " ranks came within ", timeout.count(), " ms"));
    }
    return round_ != round ? absl::OkStatus() : status_;
  }

  // Of the one that `rank` 0 makes. Between two meetings.
  void keep(StatusOr<SharedMemory> memory) {
    absl::MutexLock lock(&mutex_);
    shared_ = std::move(memory);
  }
  StatusOr<SharedMemory> kept() {
    absl::MutexLock lock(&mutex_);
    return shared_;
  }
  bool ok() {
    absl::MutexLock lock(&mutex_);
    return status_.ok();
  }

  void fail(Status status) {
    absl::MutexLock lock(&mutex_);
    if (status_.ok()) status_ = std::move(status);
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::vector<std::span<const std::byte>>> shown_ ABSL_GUARDED_BY(mutex_);
  StatusOr<SharedMemory> shared_ ABSL_GUARDED_BY(mutex_) = SharedMemory();
  const int size_, machines_;
  int arrived_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
  Status status_ ABSL_GUARDED_BY(mutex_);
};

Status copy(std::span<const std::byte> from, std::span<std::byte> to, int rank) {
  if (from.size() != to.size()) {
    return absl::InternalError(
        absl::StrCat("rank ", rank, " gives ", from.size(), " bytes where ", to.size(), " are expected"));
  }
  if (!from.empty()) std::memmove(to.data(), from.data(), from.size());
  return absl::OkStatus();
}

class ThreadComm final : public Communicator {
 public:
  ThreadComm(std::shared_ptr<Team> team, int rank) : team_(std::move(team)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return team_->size(); }
  int local_size() const override {
    int count = 0;
    for (int r = 0; r < size(); ++r) count += team_->machine_of(r) == team_->machine_of(rank_) ? 1 : 0;
    return count;
  }

  Status barrier() override { return team_->meet(timeout_); }

  Status broadcast(std::span<std::byte> data, int root) override {
    return perform(
        {data}, [&]() -> Status { return rank_ == root ? absl::OkStatus() : copy(team_->shown(root, 0), data, root); });
  }

  Status all_gather(std::span<std::byte> all, std::span<const size_t> counts) override {
    size_t own = 0;
    for (int r = 0; r < rank_; ++r) own += counts[static_cast<size_t>(r)];
    return perform({all.subspan(own, counts[static_cast<size_t>(rank_)])}, [&]() -> Status {
      size_t begin = 0;
      for (int r = 0; r < size(); ++r) {
        const size_t count = counts[static_cast<size_t>(r)];
        if (r != rank_) GQ_RETURN_IF_ERROR(copy(team_->shown(r, 0), all.subspan(begin, count), r));
        begin += count;
      }
      return absl::OkStatus();
    });
  }

  Status exchange(std::span<const std::span<const std::byte>> to, std::span<const std::span<std::byte>> from) override {
    return perform({to.begin(), to.end()}, [&]() -> Status {
      for (int r = 0; r < size(); ++r) {
        GQ_RETURN_IF_ERROR(copy(team_->shown(r, rank_), from[static_cast<size_t>(r)], r));
      }
      return absl::OkStatus();
    });
  }

  StatusOr<SharedMemory> share(size_t bytes) override {
    if (size() == 1 || team_->machines() > 1) return SharedMemory();
    if (rank_ == 0) {
      const StatusOr<SharedFile> file = SharedFile::make(bytes);
      team_->keep(file.ok() ? StatusOr<SharedMemory>(file->memory()) : file.status());
    }
    GQ_RETURN_IF_ERROR(team_->meet(timeout_));
    StatusOr<SharedMemory> memory = team_->kept();
    GQ_RETURN_IF_ERROR(team_->meet(timeout_));
    if (rank_ == 0) team_->keep(SharedMemory());
    return memory;
  }
  bool wait_sign() override { return team_->ok(); }

  void end_all(int exit_code) override {
    team_->fail(absl::AbortedError(absl::StrCat("rank ", rank_, " ended the work with exit code ", exit_code)));
  }

  std::chrono::milliseconds set_timeout(std::chrono::milliseconds timeout) override {
    return std::exchange(timeout_, timeout);
  }

 private:
  template <typename Copy>
  Status perform(std::vector<std::span<const std::byte>> mine, const Copy& copy_all) {
    team_->show(rank_, std::move(mine));
    GQ_RETURN_IF_ERROR(team_->meet(timeout_));
    const Status copied = copy_all();
    if (!copied.ok()) team_->fail(copied);
    GQ_RETURN_IF_ERROR(team_->meet(timeout_));
    return copied;
  }

  std::shared_ptr<Team> team_;
  int rank_;
  std::chrono::milliseconds timeout_ = kTimeout;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_thread_ranks(int size, int machines) {
  const auto team = std::make_shared<Team>(size, machines);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int r = 0; r < size; ++r) ranks.push_back(std::make_unique<ThreadComm>(team, r));
  return ranks;
}

}  // namespace gridquant::comm
