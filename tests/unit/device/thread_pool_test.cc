// Every task once, in the promised order and on the promised scratch index.
#include "engine/device/thread_pool.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <atomic>
#include <vector>

namespace gridquant::device {
namespace {

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
      pool.parallel_for(count, [&](int64_t task, int) { ++runs[static_cast<size_t>(task)]; });
      for (const auto& n : runs) EXPECT_EQ(n, 1);
    }
  }
}

TEST(ThreadPool, NoTwoTasksShareAThreadIndex) {
  ThreadPool pool(4);
  std::vector<std::atomic<bool>> inside(4);
  std::atomic<bool> collided{false};
  pool.parallel_for(2000, [&](int64_t, int thread) {
    if (inside[static_cast<size_t>(thread)].exchange(true)) collided = true;
    inside[static_cast<size_t>(thread)] = false;
  });
  EXPECT_FALSE(collided);
}

TEST(ThreadPool, OneThreadTakesTasksInOrder) {
  ThreadPool pool(1);
  std::vector<int64_t> order;
  pool.parallel_for(5, [&](int64_t task, int thread) {
    EXPECT_EQ(thread, 0);
    order.push_back(task);
  });
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

TEST(ThreadPool, LibrariesRunOnOneThreadInsideTasks) {
  omp_set_num_threads(3);
  ThreadPool pool(3);
  std::atomic<int> most{0};
  pool.parallel_for(64, [&](int64_t, int) {
    if (omp_get_max_threads() > most) most = omp_get_max_threads();
  });
  EXPECT_EQ(most, 1);
}

TEST(ThreadPool, ManyShortRounds) {
  ThreadPool pool(3);
  std::atomic<int64_t> total{0};
  for (int round = 0; round < 2000; ++round) {
    pool.parallel_for(3, [&](int64_t task, int) { total += task; });
  }
  EXPECT_EQ(total, 2000 * 3);
}

}  // namespace
}  // namespace gridquant::device
