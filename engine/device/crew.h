// Processes of one machine that share memory and do the same work: a crew makes one of their pools. A loop's tasks go
// to whichever process is free, as they go to whichever thread is free inside one. Not here: how processes come to
// share memory (engine/comm), and what they compute.
//
// Every member runs the same program: the same loops, allocations and votes in the same order, with the same sizes.
// What tasks write for others lies in memory(). A loop begins when all members have come to it and ends when all its
// tasks are done: so between loops that memory stands still, and every member may read it while it does the work
// between loops, the same as the others do, into memory of its own.
// Used from one thread of each member, but for next_task(), wait_while() and publish(). A member that the others wait
// for in vain leaves the crew lost: loops then do nothing, and what was computed is worth nothing.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory_resource>
#include <span>

namespace gridquant::device {

class Crew {
 public:
  struct Options {
    std::span<std::byte> memory;  // shared, borrowed; zero when the first member comes; the same size everywhere
    int members = 1;
    int threads = 1;  // of all members
    // Called again and again during a wait, from any thread: false, where the others will not come.
    std::function<bool()> waiting;
    std::chrono::milliseconds timeout{};  // of each wait
  };
  explicit Crew(Options options);

  int threads() const { return options_.threads; }
  bool lost() const { return shared_->lost.load() != 0; }
  // Memory that all members see, at addresses of their own: no pointers in it. Not for use inside tasks.
  std::pmr::memory_resource* memory() { return &arena_; }

  void begin_loop();
  int64_t next_task() { return lost() ? kNoTask : shared_->next.fetch_add(1); }
  void end_loop();
  // Whether `own` is true of every member.
  bool all(bool own);

  // Waits while `word` (in shared memory) has this value; returns at once where the crew is lost.
  void wait_while(const std::atomic<uint32_t>& word, uint32_t value);
  void publish(std::atomic<uint32_t>& word, uint32_t value);

 private:
  static constexpr int64_t kNoTask = INT64_MAX;
  struct Shared {
    alignas(64) std::atomic<int64_t> next;
    alignas(64) std::atomic<uint32_t> arrived;
    std::atomic<uint32_t> round;
    std::atomic<uint32_t> against;  // votes
    alignas(64) std::atomic<uint32_t> sleepers;
    std::atomic<uint32_t> lost;
  };
  static_assert(std::atomic<int64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);

  // First fit: the same offsets in every member, because they allocate the same.
  class Arena final : public std::pmr::memory_resource {
   public:
    explicit Arena(std::span<std::byte> memory);

   private:
    void* do_allocate(size_t bytes, size_t alignment) override;
    void do_deallocate(void* pointer, size_t bytes, size_t alignment) override;
    bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

    std::byte* begin_;
    std::map<size_t, size_t> free_;  // bytes by offset
  };

  // Returns when all members have come; the last one does `last` before the others go on.
  void meet(void (*last)(Shared&));

  Options options_;
  std::chrono::microseconds spin_;
  Shared* shared_;
  Arena arena_;
};

}  // namespace gridquant::device
