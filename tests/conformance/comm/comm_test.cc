// The cases over one rank and over 1 to 8 ranks on threads; and what happens when ranks fail.
#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <tuple>

#include "tests/conformance/comm/cases.h"

namespace gridquant::comm {
namespace {

void on_threads(int size, const std::function<void(Communicator&)>& body) {
  std::vector<std::unique_ptr<Communicator>> ranks = make_thread_ranks(size);
  std::vector<std::thread> threads;
  for (auto& rank : ranks) threads.emplace_back([&] { body(*rank); });
  for (std::thread& thread : threads) thread.join();
}

class CommConformance : public testing::TestWithParam<std::tuple<Case, int>> {};

TEST_P(CommConformance, Holds) {
  const auto& [one, size] = GetParam();
  if (size == 0) {
    one.run(self());
  } else {
    on_threads(size, one.run);
  }
}

INSTANTIATE_TEST_SUITE_P(Table, CommConformance, testing::Combine(testing::ValuesIn(all_cases()), testing::Range(0, 9)),
                         [](const auto& info) {
                           const int size = std::get<1>(info.param);
                           return std::get<0>(info.param).name +
                                  (size == 0 ? "Self" : "Threads" + std::to_string(size));
                         });

TEST(ThreadComm, MachinesShareNoMemory) {
  std::vector<std::unique_ptr<Communicator>> ranks = make_thread_ranks(5, 2);
  std::vector<std::thread> threads;
  for (auto& rank : ranks) {
    threads.emplace_back([&comm = *rank] {
      EXPECT_EQ(comm.local_size(), comm.rank() < 3 ? 3 : 2);
      const StatusOr<SharedMemory> memory = comm.share(4096);
      ASSERT_EQ(memory.status(), absl::OkStatus());
      EXPECT_EQ(memory->owner, nullptr);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ThreadComm, EndedWhileWaitingOutsideOfAnOperation) {
  on_threads(2, [](Communicator& comm) {
    if (comm.rank() == 1) return comm.end_all(13);
    while (comm.wait_sign()) std::this_thread::yield();
  });
}

TEST(ThreadComm, ARankThatDoesNotComeIsATimeout) {
  on_threads(3, [](Communicator& comm) {
    comm.set_timeout(std::chrono::milliseconds(50));
    if (comm.rank() == 1) return;
    const Status status = comm.barrier();
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    EXPECT_EQ(exit_code_for(status), ExitCode::kTimeout);
    EXPECT_FALSE(comm.barrier().ok()) << "good for nothing afterwards";
  });
}

TEST(ThreadComm, AbortEndsTheOthersWait) {
  on_threads(4, [](Communicator& comm) {
    if (comm.rank() == 2) {
      comm.end_all(13);
      return;
    }
    std::vector<std::byte> data(8);
    const Status status = comm.broadcast(data, 2);
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_EQ(failure_class_for(static_cast<int>(exit_code_for(status))), FailureClass::kInfrastructure);
  });
}

TEST(ThreadComm, SizesThatDoNotMatchAreABug) {
  on_threads(2, [](Communicator& comm) {
    std::vector<std::byte> data(comm.rank() == 0 ? 8 : 9);
    const Status status = comm.broadcast(data, 0);
    EXPECT_TRUE(absl::IsInternal(status)) << status;
  });
}

}  // namespace
}  // namespace gridquant::comm
