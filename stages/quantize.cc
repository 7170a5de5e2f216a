// Stage quantize: follows plan.json block by block and writes checkpoint/, a Hugging Face folder. Every block is
// committed when it is done; a later attempt goes on after the last committed one and leaves the same bytes, with any
// number of ranks. All ranks hold every block; only the first one writes. Ranks that share memory work as one
// (rank_crew.h), others have sequences of their own and exchange Hessians and codes (shard.h).
#include "stages/block_quantizer.h"
#include "stages/parameters.h"
#include "stages/prefetch.h"
#include "stages/quantize_run.h"
#include "stages/rank_crew.h"
#include "stages/shard.h"
#include "stages/stored_block_solver.h"

namespace gridquant::stages {
namespace {

uint64_t budget_bytes(const StageContext& context, bool of_all_ranks) {
  const uint64_t one = size_parameter(context.task.with, "hiddenStatesBudget");
  return of_all_ranks ? one * static_cast<uint64_t>(context.comm.size()) : one;
}

// Whether what all ranks look at fits into memory that they share. Which experts a token was routed to is kept by the
// rank that has the sequence: a mixture's ranks have sequences of their own.
bool suits_crew(const StageContext& context, const QuantizeInputs& inputs, const TokenSet& tokens) {
  const ModelSource& source = inputs.source;
  if (inputs.plan.solver != "gptq") return false;
  for (int64_t b = 0; b < source.config.block_count; ++b) {
    for (const model::SiteSpec& site : source.architecture->sites(source.config, b)) {
      if (site.experts > 0) return false;
    }
  }
  const int64_t inputs_per_token = widest_site(source, 0).per_token + widest_site(source, 1).per_token;
  const uint64_t per_token = static_cast<uint64_t>(inputs_per_token) * ops::operand_size(inputs.compute) +
                             static_cast<uint64_t>(source.config.hidden_size) * sizeof(float);
  return static_cast<uint64_t>(tokens.count() * tokens.length) * per_token <= budget_bytes(context, true);
}

class Quantization {
 public:
  // `crew`: or null.
  Quantization(StageContext& context, const QuantizeInputs& inputs, const TokenSet& tokens, RankCrew* crew)
      : context_(context),
        inputs_(inputs),
        source_(inputs.source),
        plan_(inputs.plan),
        pool_(crew == nullptr ? context.pool : crew->pool()),
        shard_(crew == nullptr ? context.comm : comm::self(), tokens.count(), tokens.length),
        tokens_digest_(tokens.digest),
        tokens_(shard_.own_tokens(tokens)),
        budget_(context.env, context.task.artifact, budget_bytes(context, crew != nullptr), pool_.memory()),
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
    GQ_RETURN_IF_ERROR(embed_tokens(source_, tokens_, pool_, hidden));
    run_.times().lap("forward");
    // From file to file, beside the first block's work.
    GQ_RETURN_IF_ERROR(run_.commit_outer());
    GQ_RETURN_IF_ERROR(replay(hidden));
    BlockQuantizer quantizer(source_, plan_, inputs_.compute, {pool_, context_.pool, run_.times(), budget_, shard_});
    return run_.solve_rest("quantizing",
                           [&](LoadedBlock loaded) { return quantizer.quantize(std::move(loaded), hidden); });
  }

  // Committed blocks: their outputs are the next block's inputs. No Hessian, no solving.
  Status replay(HiddenStates& hidden) {
    BlockWalker walker(source_, inputs_.compute, tokens_.length, pool_);
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
    const bool one = pool_.memory() != nullptr;
    MemorySetting memory = run_.memory_setting();
    memory.budget = budget_bytes(context_, one);
    if (one) memory.ranks = 1;
    if (context_.comm.size() > 1) context_.summary["ranks_share_memory"] = one;
    context_.summary["memory_forecast_bytes"] = forecast_memory(source_, plan_, tokens_, memory);
    context_.summary["spilled_bytes"] = budget_.spilled_bytes();
  }

  StageContext& context_;
  const QuantizeInputs& inputs_;
  const ModelSource& source_;
  const Plan& plan_;
  device::ThreadPool& pool_;  // may span ranks
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
  std::unique_ptr<RankCrew> crew;
  if (suits_crew(context, inputs, tokens)) {
    GQ_ASSIGN_OR_RETURN(crew, RankCrew::make(context.comm, context.pool.threads()));
  }
  if (context.comm.size() > 1 && context.comm.rank() == 0) {
    context.progress.note(crew != nullptr ? "ranks share memory and take sequences as they are free"
                                          : "each rank has its own sequences; Hessians and codes are exchanged");
  }
  return Quantization(context, inputs, tokens, crew.get()).run();
}

}  // namespace gridquant::stages
