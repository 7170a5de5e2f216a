// Stage quantize: follows plan.json block by block and writes checkpoint/, a Hugging Face folder. Every block is
// committed when it is done; a later attempt goes on after the last committed one and leaves the same bytes, with any
// number of ranks. All ranks hold every block; only the first one writes.
#include "stages/block_quantizer.h"
#include "stages/parameters.h"
#include "stages/prefetch.h"
#include "stages/quantize_run.h"
#include "stages/shard.h"
#include "stages/stored_block_solver.h"

namespace gridquant::stages {
namespace {

class Quantization {
 public:
  Quantization(StageContext& context, const QuantizeInputs& inputs, const TokenSet& tokens)
      : context_(context),
        inputs_(inputs),
        source_(inputs.source),
        plan_(inputs.plan),
        shard_(context.comm, tokens.count(), tokens.length),
        tokens_digest_(tokens.digest),
        tokens_(shard_.own_tokens(tokens)),
        budget_(context.env, context.task.artifact, size_parameter(context.task.with, "hiddenStatesBudget")),
        run_(context, inputs) {}

  Status run() {
    return run_.run(
        {.folder = kCheckpoint, .statistics = tokens_digest_},
        [this] { return plan_.solver == "rtn" ? round_blocks() : solve_blocks(); }, [this] { summarize(); });
  }

 private:
  Status solve_blocks() {
    if (run_.resumed() == run_.blocks()) return run_.commit_outer();
    GQ_ASSIGN_OR_RETURN(HiddenStates hidden, HiddenStates::make(budget_, "hidden", tokens_.count(), tokens_.length,
                                                                source_.config.hidden_size));
    GQ_RETURN_IF_ERROR(embed_tokens(source_, tokens_, context_.pool, hidden));
    run_.times().lap("forward");
    // From file to file, beside the first block's work.
    GQ_RETURN_IF_ERROR(run_.commit_outer());
    GQ_RETURN_IF_ERROR(replay(hidden));
    BlockQuantizer quantizer(source_, plan_, inputs_.compute, {context_.pool, run_.times(), budget_, shard_});
    return run_.solve_rest("quantizing",
                           [&](LoadedBlock loaded) { return quantizer.quantize(std::move(loaded), hidden); });
  }

  // Committed blocks: their outputs are the next block's inputs. No Hessian, no solving.
  Status replay(HiddenStates& hidden) {
    BlockWalker walker(source_, inputs_.compute, tokens_.length, context_.pool);
    Prefetcher<LoadedBlock> loader(0, run_.resumed(), run_.prefetch(), [this](int64_t b) {
      return read_committed_block(context_.env, source_, plan_, context_.path(kCheckpoint), b);
    });
    for (int64_t b = 0; b < run_.resumed(); ++b) {
      GQ_RETURN_IF_ERROR(run_.step(b, "rebuilding hidden states"));
      GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, loader.take());
      run_.times().lap("read");
      GQ_ASSIGN_OR_RETURN(const std::unique_ptr<model::Block> block,
                          make_complete_block(source_, inputs_.compute, std::move(loaded), context_.pool));
      GQ_RETURN_IF_ERROR(walker.walk_all(*block, b, hidden));
      run_.times().lap("replay");
    }
    return absl::OkStatus();
  }

  // Plain rounding needs no forward pass: what it may need of the inputs, calibrate has measured.
  Status round_blocks() {
    GQ_RETURN_IF_ERROR(run_.commit_outer());
    GQ_ASSIGN_OR_RETURN(StoredBlockSolver solver,
                        StoredBlockSolver::open(context_.env, inputs_.calibration, source_, plan_,
                                                {context_.comm, context_.pool, run_.times()}));
    return run_.solve_rest("rounding", [&](LoadedBlock loaded) { return solver.solve(std::move(loaded)); });
  }

  void summarize() {
    describe_checkpoint(inputs_, context_.summary);
    MemorySetting memory = run_.memory_setting();
    memory.budget = size_parameter(context_.task.with, "hiddenStatesBudget");
    context_.summary["memory_forecast_bytes"] = forecast_memory(source_, plan_, tokens_, memory);
    context_.summary["spilled_bytes"] = budget_.spilled_bytes();
  }

  StageContext& context_;
  const QuantizeInputs& inputs_;
  const ModelSource& source_;
  const Plan& plan_;
  Shard shard_;
  std::string tokens_digest_;
  TokenSet tokens_;  // this rank's
  ActivationBudget budget_;
  QuantizeRun run_;
};

}  // namespace

Status run_quantize(StageContext& context) {
  GQ_ASSIGN_OR_RETURN(const QuantizeInputs inputs, read_quantize_inputs(context));
  GQ_ASSIGN_OR_RETURN(const TokenSet tokens, read_tokens(context.env, inputs.calibration));
  return Quantization(context, inputs, tokens).run();
}

}  // namespace gridquant::stages
