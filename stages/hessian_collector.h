// The part of calibrate that makes Hessians: keeps the inputs of all sites of one block while sequences are walked,
// then sums and stores them one after the other. The same arithmetic as quantize's own. Not here: the walk.
#pragma once

#include <optional>
#include <vector>

#include "stages/context.h"
#include "stages/hidden_states.h"
#include "stages/part_rows.h"
#include "stages/stored_hessians.h"

namespace gridquant::stages {

class HessianCollector {
 public:
  // Buffers for the inputs of every site of a block, of this rank's sequences; the first rank also makes room on the
  // disk. All borrowed. Every rank must call this, and end_block and finish.
  static StatusOr<HessianCollector> make(StageContext& context, const ModelSource& source, const Shard& shard,
                                         ops::Compute compute, ActivationBudget& budget);

  void begin_block(int64_t b);
  // Input `x` of this rank's sequence `i`. Thread-safe for different sequences.
  void observe(int site, int64_t i, const model::SequenceView& sequence, const ops::Operand& x);
  // After the last sequence of the block.
  Status end_block();
  Status finish(const std::string& tokens_digest);

 private:
  HessianCollector(StageContext& context, const ModelSource& source, const Shard& shard, ops::Compute compute)
      : context_(&context),
        source_(&source),
        shard_(&shard),
        compute_(compute),
        gatherer_(shard, compute, context.pool),
        routings_(static_cast<size_t>(shard.sequences())) {}
  SiteInput input(size_t site);
  Status add(const HessianPart& part);

  StageContext* context_;
  const ModelSource* source_;
  const Shard* shard_;
  ops::Compute compute_;
  RowGatherer gatherer_;
  std::vector<ActivationMemory> inputs_;  // per site
  std::vector<model::Routing> routings_;  // per sequence
  std::optional<HessianWriter> writer_;   // of the first rank
  int64_t block_ = 0;
  std::vector<model::SiteSpec> sites_;  // of the block
  std::vector<int64_t> tokens_;         // of its experts, over all ranks
};

}  // namespace gridquant::stages
