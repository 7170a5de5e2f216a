// Loops over members, here threads with a pool each: every task once, nothing read before it is written, and an end
// where a member does not come.
#include "engine/device/crew.h"

#include <gtest/gtest.h>

#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "engine/device/thread_pool.h"

namespace gridquant::device {
namespace {

using std::chrono::milliseconds;

class Members {
 public:
  explicit Members(int count, milliseconds timeout = milliseconds(60'000)) : count_(count), timeout_(timeout) {}

  // Each with a pool of `threads` threads.
  template <typename Body>
  void run(int threads, const Body& body) {
    std::vector<std::thread> members;
    for (int m = 0; m < count_; ++m) {
      members.emplace_back([&, m] {
        Crew crew({std::as_writable_bytes(std::span(memory_)), count_, threads * count_, waiting, timeout_});
        ThreadPool pool(threads, &crew);
        body(m, pool);
      });
    }
    for (std::thread& member : members) member.join();
  }
  std::function<bool()> waiting;

 private:
  struct alignas(4096) Page {
    std::byte bytes[4096];
  };
  int count_;
  milliseconds timeout_;
  std::vector<Page> memory_ = std::vector<Page>(64);
};

// A loop writes, all read what it left, the next one changes it.
TEST(Crew, LoopsOfAllMembersFollowEachOther) {
  for (const int threads : {1, 2}) {
    Members(3).run(threads, [threads](int, ThreadPool& pool) {
      EXPECT_EQ(pool.threads(), threads);
      EXPECT_EQ(pool.all_threads(), 3 * threads);
      constexpr int64_t kCount = 100;
      void* memory = pool.memory()->allocate(kCount * sizeof(int64_t));
      const std::span numbers(static_cast<int64_t*>(memory), kCount);
      pool.parallel_for(kCount, [&](int64_t task, int) { numbers[static_cast<size_t>(task)] = 0; });
      for (int64_t round = 1; round <= 300; ++round) {
        pool.parallel_for(kCount, [&](int64_t task, int) { numbers[static_cast<size_t>(task)] += task; });
        ASSERT_EQ(std::accumulate(numbers.begin(), numbers.end(), int64_t{0}), round * kCount * (kCount - 1) / 2);
      }
      pool.memory()->deallocate(memory, kCount * sizeof(int64_t));
      EXPECT_FALSE(pool.lost());
    });
  }
}

TEST(Crew, AFreeMemberTakesTheTasksOfOneThatIsHeldUp) {
  std::vector<int64_t> taken(2);
  Members(2).run(1, [&](int member, ThreadPool& pool) {
    pool.parallel_for(40, [&](int64_t, int) {
      std::this_thread::sleep_for(milliseconds(member == 0 ? 200 : 1));
      ++taken[static_cast<size_t>(member)];
    });
  });
  EXPECT_EQ(taken[0] + taken[1], 40);
  EXPECT_GT(taken[1], taken[0]);
}

TEST(Crew, AVoteIsOfAllMembers) {
  Members(3).run(1, [](int member, ThreadPool& pool) {
    for (int round = 0; round < 100; ++round) {
      EXPECT_TRUE(pool.all(true));
      EXPECT_FALSE(pool.all(member != round % 3));
    }
  });
}

TEST(Crew, ATaskWaitsForAnothersWord) {
  Members(2).run(2, [](int, ThreadPool& pool) {
    constexpr int64_t kCount = 64;
    using Word = std::atomic<uint32_t>;
    auto* words = static_cast<Word*>(pool.memory()->allocate(kCount * sizeof(Word)));
    for (int round = 0; round < 20; ++round) {
      pool.parallel_for(1, [&](int64_t, int) {
        for (int64_t i = 0; i < kCount; ++i) new (words + i) Word(0);
      });
      pool.parallel_for(kCount, [&](int64_t task, int) {
        if (task > 0) pool.wait_while(words[task - 1], 0);
        pool.publish(words[task], task == 0 ? 1 : words[task - 1].load() + 1);
      });
      EXPECT_EQ(words[kCount - 1].load(), kCount);
    }
  });
}

TEST(Crew, MembersThatAllocateTheSameHaveTheSame) {
  std::vector<std::vector<std::ptrdiff_t>> offsets(2);
  Members(2).run(1, [&](int member, ThreadPool& pool) {
    std::pmr::memory_resource& memory = *pool.memory();
    auto* first = static_cast<std::byte*>(memory.allocate(10'000));
    auto* second = static_cast<std::byte*>(memory.allocate(1));
    auto* third = static_cast<std::byte*>(memory.allocate(20'000));
    memory.deallocate(first, 10'000);
    memory.deallocate(second, 1);
    auto* again = static_cast<std::byte*>(memory.allocate(16'000));  // what both had, in one piece
    EXPECT_EQ(again, first);
    offsets[static_cast<size_t>(member)] = {second - first, third - first, again - first};
    memory.deallocate(again, 16'000);
    memory.deallocate(third, 20'000);
    EXPECT_THROW((void)memory.allocate(size_t{64} * 4096), std::bad_alloc);
    memory.deallocate(memory.allocate(size_t{62} * 4096), size_t{62} * 4096);
  });
  EXPECT_EQ(offsets[0], offsets[1]);
}

TEST(Crew, IsLostWhereAMemberDoesNotCome) {
  Members(2, milliseconds(50)).run(1, [](int member, ThreadPool& pool) {
    if (member == 1) return;
    pool.parallel_for(1, [](int64_t, int) { ADD_FAILURE() << "not all members have come"; });
    EXPECT_TRUE(pool.lost());
    pool.parallel_for(1, [](int64_t, int) { ADD_FAILURE(); });  // returns at once
  });
}

TEST(Crew, IsLostWhereTheOthersWereEnded) {
  Members members(2);
  members.waiting = [] { return false; };
  members.run(1, [](int member, ThreadPool& pool) {
    if (member == 1) return;
    pool.parallel_for(1, [](int64_t, int) { ADD_FAILURE() << "not all members have come"; });
    EXPECT_TRUE(pool.lost());
  });
}

}  // namespace
}  // namespace gridquant::device
