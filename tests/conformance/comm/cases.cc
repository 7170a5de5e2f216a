// The cases of cases.h.
#include "tests/conformance/comm/cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

namespace gridquant::comm {
namespace {

// A byte that tells sender, receiver and place apart.
std::byte pattern(int from, int to, size_t at) {
  return static_cast<std::byte>((static_cast<size_t>(from) * 31 + static_cast<size_t>(to) * 7 + at * 13 + at / 251) %
                                256);
}

std::vector<std::byte> filled(int from, int to, size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = pattern(from, to, i);
  return bytes;
}

void ranks_are_numbered(Communicator& comm) {
  ASSERT_GE(comm.rank(), 0);
  ASSERT_LT(comm.rank(), comm.size());
  EXPECT_GE(comm.local_size(), 1);
  EXPECT_LE(comm.local_size(), comm.size());
  std::vector<std::byte> all(static_cast<size_t>(comm.size()));
  all[static_cast<size_t>(comm.rank())] = static_cast<std::byte>(comm.rank());
  ASSERT_EQ(comm.all_gather(all, std::vector<size_t>(all.size(), 1)), absl::OkStatus());
  for (size_t r = 0; r < all.size(); ++r) EXPECT_EQ(all[r], static_cast<std::byte>(r));
}

void broadcast_from_every_root(Communicator& comm) {
  for (int root = 0; root < comm.size(); ++root) {
    for (const size_t size : {0, 1, 7, 4096, 300'001}) {
      std::vector<std::byte> data =
          comm.rank() == root ? filled(root, 0, size) : std::vector<std::byte>(size, std::byte{0xEE});
      ASSERT_EQ(comm.broadcast(data, root), absl::OkStatus());
      EXPECT_TRUE(data == filled(root, 0, size)) << "root " << root << ", " << size << " bytes";
    }
  }
}

// Pieces of different sizes, some of them empty.
void all_gather_of_unequal_pieces(Communicator& comm) {
  for (const size_t unit : {0, 1, 100, 50'021}) {
    std::vector<size_t> counts;
    for (int r = 0; r < comm.size(); ++r) counts.push_back(unit * static_cast<size_t>((r * 2 + 1) % 4));
    std::vector<std::byte> expected;
    std::vector<std::byte> all;
    for (int r = 0; r < comm.size(); ++r) {
      const std::vector<std::byte> piece = filled(r, 1, counts[static_cast<size_t>(r)]);
      expected.insert(expected.end(), piece.begin(), piece.end());
      const std::vector<std::byte> unknown(piece.size(), std::byte{0xEE});
      const std::vector<std::byte>& known = r == comm.rank() ? piece : unknown;
      all.insert(all.end(), known.begin(), known.end());
    }
    ASSERT_EQ(comm.all_gather(all, counts), absl::OkStatus());
    EXPECT_TRUE(all == expected) << unit;
  }
}

void exchange_between_all_pairs(Communicator& comm) {
  const auto size_of = [](int from, int to) { return static_cast<size_t>((from * 3 + to * 5) % 4) * 10'007; };
  std::vector<std::vector<std::byte>> out, in;
  std::vector<std::span<const std::byte>> to;
  std::vector<std::span<std::byte>> from;
  for (int r = 0; r < comm.size(); ++r) {
    out.push_back(filled(comm.rank(), r, size_of(comm.rank(), r)));
    in.emplace_back(size_of(r, comm.rank()), std::byte{0xEE});
  }
  for (auto& bytes : out) to.emplace_back(bytes);
  for (auto& bytes : in) from.emplace_back(bytes);
  for (int repeat = 0; repeat < 3; ++repeat) {
    ASSERT_EQ(comm.exchange(to, from), absl::OkStatus());
    for (int r = 0; r < comm.size(); ++r) {
      EXPECT_TRUE(in[static_cast<size_t>(r)] == filled(r, comm.rank(), size_of(r, comm.rank()))) << "from " << r;
    }
  }
}

// Operations follow each other without a barrier, while ranks are differently late.
void operations_keep_their_order(Communicator& comm) {
  for (int round = 0; round < 50; ++round) {
    if (round % 7 == comm.rank()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::vector<std::byte> one = filled(round, 2, 64);
    const int root = round % comm.size();
    if (comm.rank() != root) std::ranges::fill(one, std::byte{0});
    ASSERT_EQ(comm.broadcast(one, root), absl::OkStatus());
    EXPECT_TRUE(one == filled(round, 2, 64)) << round;
    std::vector<std::byte> all(static_cast<size_t>(comm.size()));
    all[static_cast<size_t>(comm.rank())] = pattern(comm.rank(), round, 0);
    ASSERT_EQ(comm.all_gather(all, std::vector<size_t>(all.size(), 1)), absl::OkStatus());
    for (int r = 0; r < comm.size(); ++r) EXPECT_EQ(all[static_cast<size_t>(r)], pattern(r, round, 0));
    if (round % 5 == 0) {
      ASSERT_EQ(comm.barrier(), absl::OkStatus());
    }
  }
}

void timeout_is_kept(Communicator& comm) {
  const auto before = comm.set_timeout(std::chrono::minutes(7));
  EXPECT_EQ(before, kTimeout);
  {
    const AloneScope alone(comm);
    ASSERT_EQ(comm.barrier(), absl::OkStatus());
  }
  const auto after = comm.set_timeout(before);
  if (comm.size() > 1) {  // one rank never waits
    EXPECT_EQ(after, std::chrono::minutes(7));
  }
}

// What one writes the others read, here and there; and new memory each time.
void shared_memory_is_seen_by_all(Communicator& comm) {
  for (const size_t size : {size_t{4096}, size_t{10'000'000}}) {
    const StatusOr<SharedMemory> memory = comm.share(size);
    ASSERT_EQ(memory.status(), absl::OkStatus());
    ASSERT_EQ(memory->owner != nullptr, comm.size() > 1 && comm.local_size() == comm.size());
    if (memory->owner == nullptr) continue;
    ASSERT_EQ(memory->bytes.size(), size);
    const size_t piece = size / static_cast<size_t>(comm.size());
    const auto piece_of = [&](int rank) { return memory->bytes.subspan(static_cast<size_t>(rank) * piece, piece); };
    const std::span<std::byte> own = piece_of(comm.rank());
    EXPECT_TRUE(std::ranges::all_of(own, [](std::byte b) { return b == std::byte{0}; }));
    std::ranges::copy(filled(comm.rank(), 3, piece), own.begin());
    ASSERT_EQ(comm.barrier(), absl::OkStatus());
    for (int r = 0; r < comm.size(); ++r) EXPECT_TRUE(std::ranges::equal(piece_of(r), filled(r, 3, piece))) << r;
    EXPECT_TRUE(comm.wait_sign());
    ASSERT_EQ(comm.barrier(), absl::OkStatus());
  }
}

}  // namespace

std::vector<Case> all_cases() {
  return {{"RanksAreNumbered", ranks_are_numbered},
          {"BroadcastFromEveryRoot", broadcast_from_every_root},
          {"AllGatherOfUnequalPieces", all_gather_of_unequal_pieces},
          {"ExchangeBetweenAllPairs", exchange_between_all_pairs},
          {"SharedMemoryIsSeenByAll", shared_memory_is_seen_by_all},
          {"OperationsKeepTheirOrder", operations_keep_their_order},
          {"TimeoutIsKept", timeout_is_kept}};
}

}  // namespace gridquant::comm
