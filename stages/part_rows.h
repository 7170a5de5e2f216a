// The rows of a site's input that one part of the site sees, of all sequences of a rank, in the groups that every
// Hessian is summed in. Not here: the sums.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/device/thread_pool.h"
#include "engine/model/site_parts.h"
#include "engine/ops/gram.h"
#include "stages/shard.h"

namespace gridquant::stages {

// One site's input, of this rank's sequences. Plain data, borrowed.
struct SiteInput {
  const model::SiteSpec& spec;
  ops::Operand x;                                 // of all sequences, one below the other
  int64_t length = 0;                             // tokens of a sequence
  std::span<model::Routing> routings;             // per sequence; a dense site needs none
  std::function<void(int64_t sequence)> release;  // or null; called on pool threads when its rows were copied

  ops::Operand of_sequence(int64_t i) const {
    const int64_t rows = length * spec.rows_per_token;
    return x.row_range(i * rows, rows);
  }
};

struct PartRows {
  ops::Operand x;
  std::vector<ops::RowGroup> groups;
};

class RowGatherer {
 public:
  // Borrows `shard` and `pool`.
  RowGatherer(const Shard& shard, ops::Compute compute, device::ThreadPool& pool)
      : groups_(shard.own_groups()), compute_(compute), pool_(pool) {}

  // Of a dense site the input as it is; of an expert a copy of its rows, which the next call overwrites.
  StatusOr<PartRows> gather(const SiteInput& site, const model::SitePart& part);

 private:
  std::vector<ops::RowGroup> groups_;  // of tokens, this rank's
  ops::Compute compute_;
  device::ThreadPool& pool_;
  tensor::Buffer copied_;
};

// How many tokens of all ranks' sequences each expert gets; `routings` are of this rank's. Every rank must call it.
StatusOr<std::vector<int64_t>> tokens_of_experts(const Shard& shard, std::span<const model::Routing> routings,
                                                 int64_t experts);

}  // namespace gridquant::stages
