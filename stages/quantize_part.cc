// Stage quantize-part: one of the parts of a quantize stage with `parallelism: blocks`. Solves a range of blocks from
// what calibrate stored and leaves their shards as the finished checkpoint has them, in shards/, and their reports in
// blocks/. A part that has no blocks leaves neither.
#include "absl/strings/str_cat.h"
#include "stages/quantize_run.h"
#include "stages/stored_block_solver.h"

namespace gridquant::stages {
namespace {

// The blocks of part number `part` of `parts`, from 1.
BlockRange range_of(int64_t blocks, int64_t part, int64_t parts) {
  return {blocks * (part - 1) / parts, blocks * part / parts};
}

}  // namespace

Status run_quantize_part(StageContext& context) {
  const auto part = context.task.with.at("part").get<int64_t>();
  const auto parts = context.task.with.at("parts").get<int64_t>();
  if (part > parts) {
    return absl::InvalidArgumentError(absl::StrCat("part ", part, " of ", parts, ": there is no such part"));
  }
  GQ_ASSIGN_OR_RETURN(const QuantizeInputs inputs, read_quantize_inputs(context));
  const BlockRange range = range_of(inputs.source.config.block_count, part, parts);
  QuantizeRun run(context, inputs);
  GQ_ASSIGN_OR_RETURN(StoredBlockSolver solver,
                      StoredBlockSolver::open(context.env, inputs.calibration, inputs.source, inputs.plan,
                                              {context.comm, context.pool, run.times()}));
  const auto work = [&] {
    return run.solve_rest("quantizing", [&](LoadedBlock loaded) { return solver.solve(std::move(loaded)); });
  };
  const auto summarize = [&] {
    context.summary["part"] = part;
    context.summary["parts"] = parts;
    context.summary["first_block"] = range.begin;
    MemorySetting memory = run.memory_setting();
    memory.forward = false;
    context.summary["memory_forecast_bytes"] = forecast_memory(inputs.source, inputs.plan, {}, memory);
  };
  return run.run({.folder = "shards", .statistics = solver.digest(), .part = range}, work, summarize);
}

}  // namespace gridquant::stages
