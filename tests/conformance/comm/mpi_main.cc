// The cases over MPI: started by mpirun, every rank runs all of them; a rank with a failure ends all with its code.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/conformance/comm/cases.h"

namespace gridquant::comm {
namespace {

std::unique_ptr<Communicator> world;

// Rank 0 alone waits, for a message that the last rank does not send. The last case: nothing may follow it.
void a_rank_that_does_not_come_is_a_timeout(Communicator& comm) {
  if (comm.size() == 1 || comm.rank() != 0) return;
  comm.set_timeout(std::chrono::milliseconds(50));
  static std::vector<std::byte> nothing(1);  // MPI may still write to it
  const std::vector<std::span<const std::byte>> to(static_cast<size_t>(comm.size()));
  std::vector<std::span<std::byte>> from(static_cast<size_t>(comm.size()));
  from.back() = nothing;
  const Status status = comm.exchange(to, from);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

std::vector<Case> cases() {
  std::vector<Case> cases = all_cases();
  cases.push_back({"ARankThatDoesNotComeIsATimeout", a_rank_that_does_not_come_is_a_timeout});
  return cases;
}

class MpiConformance : public testing::TestWithParam<Case> {};
TEST_P(MpiConformance, Holds) {
  GetParam().run(*world);
}
INSTANTIATE_TEST_SUITE_P(Table, MpiConformance, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gridquant::comm

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  auto comm = gridquant::comm::make_mpi(nullptr);
  if (!comm.ok()) {
    std::fprintf(stderr, "%s\n", comm.status().ToString().c_str());
    return 1;
  }
  gridquant::comm::world = *std::move(comm);
  const int expected = argc > 1 ? std::atoi(argv[1]) : 1;
  if (gridquant::comm::world->size() != expected) {
    std::fprintf(stderr, "%d ranks, expected %d\n", gridquant::comm::world->size(), expected);
    return 1;
  }
  const int result = RUN_ALL_TESTS();
  if (result != 0) gridquant::comm::world->end_all(result);
  gridquant::comm::world.reset();
  return result;
}
