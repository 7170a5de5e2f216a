// A stage's work over ranks: which sequences a rank has, and what all ranks must agree on. The cut is made of the
// Hessian's row groups, which the data alone fixes, so that nothing computed here knows how many ranks there are.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/ops/gram.h"
#include "engine/ops/tree.h"
#include "stages/token_store.h"

namespace gridquant::stages {

// Row groups of whole sequences: at most eight, fixed by the data alone.
std::vector<ops::RowGroup> row_groups(int64_t sequences, int64_t length);

class Shard {
 public:
  // `comm` is borrowed.
  Shard(comm::Communicator& comm, int64_t sequences, int64_t length);

  comm::Communicator& comm() const { return comm_; }
  int rank() const { return comm_.rank(); }
  int ranks() const { return comm_.size(); }
  bool alone() const { return comm_.size() == 1; }

  int64_t length() const { return length_; }  // tokens of a sequence
  int64_t all_sequences() const { return sequences_; }
  int64_t all_groups() const { return static_cast<int64_t>(groups_.size()); }
  // Numbers of the row groups of a rank; they follow each other from rank to rank. None, where there are more ranks
  // than groups.
  ops::Subtree groups_of(int rank) const;
  ops::Subtree sequences_of(int rank) const;
  int64_t end_of_group(int64_t group) const;  // in sequences of all
  int64_t first_sequence() const { return sequences_of(rank()).begin; }
  int64_t sequences() const { return sequences_of(rank()).count; }
  int64_t most_sequences() const;  // of any rank
  // This rank's groups, counted from its own first row.
  std::vector<ops::RowGroup> own_groups() const;
  // This rank's sequences. Languages and texts are those of all.
  TokenSet own_tokens(const TokenSet& all) const;

  // `all` has `per_sequence` items for every sequence of all ranks, of which this rank has filled in its own.
  template <typename T>
  Status gather(std::vector<T>& all, int64_t per_sequence = 1) const {
    std::vector<size_t> counts;
    for (int r = 0; r < ranks(); ++r) {
      counts.push_back(static_cast<size_t>(sequences_of(r).count * per_sequence) * sizeof(T));
    }
    return comm_.all_gather(std::as_writable_bytes(std::span(all)), counts);
  }

 private:
  comm::Communicator& comm_;
  int64_t sequences_;
  int64_t length_;
  std::vector<ops::RowGroup> groups_;  // of all
};

// Item number i of `count` belongs to the rank whose range it is in; ranges follow each other.
ops::Subtree share_of(int64_t count, int rank, int ranks);

// The first rank's error, if any has one, on all ranks. Every rank must call it. See is_agreed.
Status agree(comm::Communicator& comm, const Status& own);
// All ranks return this error: none of them needs to be told, or ended.
bool is_agreed(const Status& status);

// Rank 0 does `work`; all return when it is done, with its status.
Status on_first_rank(comm::Communicator& comm, const std::function<Status()>& work);

// `bytes` of rank 0 to all, which need not know the size.
Status broadcast_string(comm::Communicator& comm, std::string& bytes);
Status broadcast_number(comm::Communicator& comm, int64_t& number);

// The token set that rank 0 has, on all ranks.
Status broadcast_tokens(comm::Communicator& comm, TokenSet& tokens);

// X^T X over the rows of all ranks: ops::gram's bits. `x` and `groups` are this rank's; `out` is made whole on all.
Status gram_over_ranks(const Shard& shard, const ops::Operand& x, std::span<const ops::RowGroup> groups,
                       device::ThreadPool& pool, tensor::Matrix<float> out);

}  // namespace gridquant::stages
