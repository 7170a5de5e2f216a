// Cuts over ranks, and agreement between them. Not here: the Hessian over ranks (gram_over_ranks.cc).
#include "stages/shard.h"

#include <algorithm>
#include <array>
#include <string>

namespace gridquant::stages {
namespace {

constexpr int64_t kMaxGroups = 8;
constexpr const char* kAgreed = "gridquant/agreed";

std::span<std::byte> bytes_of(int64_t& number) {
  return std::as_writable_bytes(std::span(&number, 1));
}

}  // namespace

std::vector<ops::RowGroup> row_groups(int64_t sequences, int64_t length) {
  const int64_t count = std::min(sequences, kMaxGroups);
  std::vector<ops::RowGroup> groups;
  for (int64_t g = 0; g < count; ++g) {
    const ops::Subtree share = share_of(sequences, static_cast<int>(g), static_cast<int>(count));
    groups.push_back({share.begin * length, share.count * length});
  }
  return groups;
}

ops::Subtree share_of(int64_t count, int rank, int ranks) {
  const int64_t begin = rank * count / ranks;
  return {begin, (rank + 1) * count / ranks - begin};
}

Shard::Shard(comm::Communicator& comm, int64_t sequences, int64_t length)
    : comm_(comm), sequences_(sequences), length_(length), groups_(row_groups(sequences, length)) {}

ops::Subtree Shard::groups_of(int rank) const {
  return share_of(all_groups(), rank, ranks());
}

ops::Subtree Shard::sequences_of(int rank) const {
  const ops::Subtree groups = groups_of(rank);
  ops::Subtree sequences{0, 0};
  for (int64_t g = 0; g < groups.begin + groups.count; ++g) {
    const int64_t count = groups_[static_cast<size_t>(g)].count / std::max<int64_t>(1, length_);
    (g < groups.begin ? sequences.begin : sequences.count) += count;
  }
  return sequences;
}

int64_t Shard::end_of_group(int64_t group) const {
  const ops::RowGroup& rows = groups_[static_cast<size_t>(group)];
  return (rows.begin + rows.count) / std::max<int64_t>(1, length_);
}

int64_t Shard::most_sequences() const {
  int64_t most = 0;
  for (int r = 0; r < ranks(); ++r) most = std::max(most, sequences_of(r).count);
  return most;
}

std::vector<ops::RowGroup> Shard::own_groups() const {
  const ops::Subtree range = groups_of(rank());
  std::vector<ops::RowGroup> own;
  for (int64_t g = range.begin; g < range.begin + range.count; ++g) {
    const ops::RowGroup& group = groups_[static_cast<size_t>(g)];
    own.push_back({group.begin - first_sequence() * length_, group.count});
  }
  return own;
}

TokenSet Shard::own_tokens(const TokenSet& all) const {
  TokenSet own = all;
  const ops::Subtree range = sequences_of(rank());
  const int64_t end = range.begin + range.count;
  own.ids.assign(all.ids.begin() + range.begin * all.length, all.ids.begin() + end * all.length);
  own.language_of.assign(all.language_of.begin() + range.begin, all.language_of.begin() + end);
  return own;
}

Status agree(comm::Communicator& comm, const Status& own) {
  if (comm.size() == 1) return own;
  struct Outcome {
    int64_t code, length;
  };
  std::vector<Outcome> all(static_cast<size_t>(comm.size()));
  all[static_cast<size_t>(comm.rank())] = {static_cast<int64_t>(own.code()),
                                           static_cast<int64_t>(own.message().size())};
  GQ_RETURN_IF_ERROR(
      comm.all_gather(std::as_writable_bytes(std::span(all)), std::vector<size_t>(all.size(), sizeof(Outcome))));
  const auto failed = std::ranges::find_if(all, [](const Outcome& o) { return o.code != 0; });
  if (failed == all.end()) return absl::OkStatus();
  std::string message(static_cast<size_t>(failed->length), ' ');
  const int rank = static_cast<int>(failed - all.begin());
  if (comm.rank() == rank) message = std::string(own.message());
  GQ_RETURN_IF_ERROR(comm.broadcast(std::as_writable_bytes(std::span(message)), rank));
  Status agreed(static_cast<absl::StatusCode>(failed->code), message);
  agreed.SetPayload(kAgreed, absl::Cord());
  return agreed;
}

bool is_agreed(const Status& status) {
  return status.GetPayload(kAgreed).has_value();
}

Status on_first_rank(comm::Communicator& comm, const std::function<Status()>& work) {
  const comm::AloneScope alone(comm);
  return agree(comm, comm.rank() == 0 ? work() : absl::OkStatus());
}

Status broadcast_number(comm::Communicator& comm, int64_t& number) {
  return comm.broadcast(bytes_of(number), 0);
}

Status broadcast_string(comm::Communicator& comm, std::string& bytes) {
  auto size = static_cast<int64_t>(bytes.size());
  GQ_RETURN_IF_ERROR(broadcast_number(comm, size));
  bytes.resize(static_cast<size_t>(size));
  return comm.broadcast(std::as_writable_bytes(std::span(bytes)), 0);
}

Status broadcast_tokens(comm::Communicator& comm, TokenSet& tokens) {
  if (comm.size() == 1) return absl::OkStatus();
  std::string bytes;
  if (comm.rank() == 0) bytes = tokens.serialize();
  GQ_RETURN_IF_ERROR(broadcast_string(comm, bytes));
  GQ_ASSIGN_OR_RETURN(tokens, TokenSet::parse(bytes));
  return absl::OkStatus();
}

}  // namespace gridquant::stages
