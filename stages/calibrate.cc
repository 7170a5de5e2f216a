// Stage calibrate: texts become tokens, and the unquantized model is walked once over them to measure the inputs of
// every site per language. Over ranks: the first reads and writes text, each walks its own sequences. Leaves
// tokens.bin, tokens.json and, with statistics, statistics.safetensors and .json; with statistics: hessian also
// hessians/ and hessians.json.
#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "stages/block_loop.h"
#include "stages/context.h"
#include "stages/generator.h"
#include "stages/grouped_sums.h"
#include "stages/hessian_collector.h"
#include "stages/inputs.h"
#include "stages/parallel.h"
#include "stages/parameters.h"
#include "stages/prefetch.h"
#include "stages/shard.h"
#include "stages/site_statistics.h"
#include "stages/token_store.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

// Sequences whose sums are held at once, per thread: bounds memory, and amortises the wait at the end of each wave.
constexpr int64_t kWavePerThread = 8;

// What the model writes itself; `shares` are those after the data sets'.
StatusOr<std::vector<MadeSequences>> write_own(StageContext& context, const ModelSource& source, ops::Compute compute,
                                               std::span<const int64_t> shares) {
  const json& with = context.task.with;
  GenerateRequest request{{},
                          with.at("sequenceLength").get<int64_t>(),
                          with.at("seed").get<uint64_t>(),
                          compute,
                          with.contains("generationMemory") ? size_parameter(with, "generationMemory") : 0};
  for (size_t i = 0; i < with.at("generate").size(); ++i) {
    const json& given = with.at("generate")[i];
    request.specs.push_back(
        {given.at("language").get<std::string>(),
         shares[i],
         given.value("prompts", ""),
         {given.at("temperature").get<double>(), given.at("topK").get<int64_t>(), given.at("topP").get<double>()}});
  }
  return generate(context, source, request);
}

StatusOr<TokenSet> tokenize(StageContext& context, const ModelSource& source, ops::Compute compute) {
  const json& with = context.task.with;
  std::vector<double> weights;
  for (const char* list : {"datasets", "generate"}) {
    for (const json& one : with.at(list)) weights.push_back(one.at("weight").get<double>());
  }
  GQ_ASSIGN_OR_RETURN(const std::vector<int64_t> shares,
                      text::share_samples(with.at("samples").get<int64_t>(), weights));
  TokenRequest request;
  request.texts = source.texts;
  request.vocab_size = source.config.vocab_size;
  request.datasets = parse_datasets(with.at("datasets"), shares);
  request.windows = {with.at("sequenceLength").get<int64_t>(), with.at("seed").get<uint64_t>(),
                     with.at("shuffle").get<bool>(), packing_of(with)};
  if (request.windows.length > source.config.max_positions) {
    context.progress.warning(absl::StrCat("sequenceLength ", request.windows.length, " is more than the ",
                                          source.config.max_positions, " positions that the model was made for"));
  }
  GQ_ASSIGN_OR_RETURN(request.made,
                      write_own(context, source, compute, std::span(shares).subspan(with.at("datasets").size())));
  context.progress.note("tokenizing");
  GQ_ASSIGN_OR_RETURN(TokenSet tokens, make_tokens(context.env, std::move(request)));
  for (const std::string& line : left_out(tokens)) context.progress.warning(line);
  return tokens;
}

class Measurement {
 public:
  Measurement(StageContext& context, const ModelSource& source, const TokenSet& tokens, ops::Compute compute,
              ActivationBudget& budget)
      : context_(context),
        source_(source),
        shard_(context.comm, tokens.count(), tokens.length),
        tokens_(shard_.own_tokens(tokens)),
        compute_(compute),
        walker_(source, compute, tokens.length, context.pool),
        budget_(budget),
        digest_(tokens.digest),
        writer_(tokens.languages) {}

  // Of a mixture: the tokens of every expert.
  const json& experts() const { return writer_.experts(); }

  Status run(bool with_hessians) {
    GQ_ASSIGN_OR_RETURN(
        hidden_, HiddenStates::make(budget_, "hidden", tokens_.count(), tokens_.length, source_.config.hidden_size));
    if (with_hessians) {
      GQ_ASSIGN_OR_RETURN(HessianCollector hessians,
                          HessianCollector::make(context_, source_, shard_, compute_, budget_));
      hessians_.emplace(std::move(hessians));
    }
    GQ_RETURN_IF_ERROR(embed_tokens(source_, tokens_, context_.pool, hidden_));
    const int64_t blocks = source_.config.block_count;
    const bool ahead = context_.task.with.at("prefetch").get<bool>();
    Prefetcher<LoadedBlock> loader(0, blocks, ahead, [this](int64_t b) { return load_block(source_, b, {}); });
    for (int64_t b = 0; b < blocks; ++b) {
      GQ_RETURN_IF_ERROR(check_cancelled(context_, ""));
      context_.progress.progress(b, blocks, "block", "measuring");
      GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, loader.take());
      GQ_ASSIGN_OR_RETURN(const std::unique_ptr<model::Block> block,
                          make_complete_block(source_, compute_, std::move(loaded), context_.pool));
      GQ_RETURN_IF_ERROR(measure_block(b, *block));
    }
    context_.progress.progress(blocks, blocks, "block", "measuring");
    if (hessians_) GQ_RETURN_IF_ERROR(hessians_->finish(digest_));
    return on_first_rank(context_.comm, [this] { return writer_.write(context_.env, context_.task.artifact); });
  }

 private:
  Status measure_block(int64_t b, const model::Block& block) {
    const std::vector<model::SiteSpec> sites = source_.architecture->sites(source_.config, b);
    GroupedSums sums(sites, tokens_.languages.size(), shard_);
    const int64_t wave = kWavePerThread * context_.pool.threads();
    std::vector<BlockSums> partial;  // of the sequences of one wave
    for (int64_t i = 0; i < std::min(wave, tokens_.count()); ++i) partial.push_back(make_block_sums(sites, 1));
    walker_.prepare(block, b);
    if (hessians_) hessians_->begin_block(b);
    for (int64_t begin = 0; begin < tokens_.count(); begin += wave) {
      const int64_t count = std::min(wave, tokens_.count() - begin);
      GQ_RETURN_IF_ERROR(parallel(context_.pool, count, [&](int64_t i, int thread) {
        for (SiteSums& site : partial[i]) {
          for (std::vector<ColumnSums>& part : site) part.front().clear();
        }
        const auto observe = [&](int site, const model::SequenceView& sequence, const ops::Operand& x) {
          add_input(sites[site], sequence, x, partial[i][site]);
          if (hessians_) hessians_->observe(site, begin + i, sequence, x);
          return absl::OkStatus();
        };
        return walker_.walk(block, hidden_, begin + i, thread, observe);
      }));
      for (int64_t i = 0; i < count; ++i) sums.add(begin + i, tokens_.language_of[begin + i], partial[i]);
    }
    GQ_ASSIGN_OR_RETURN(const BlockSums all, sums.finish());
    if (shard_.rank() == 0) writer_.add_block(b, sites, all);
    return hessians_ ? hessians_->end_block() : absl::OkStatus();
  }

  StageContext& context_;
  const ModelSource& source_;
  Shard shard_;
  TokenSet tokens_;  // this rank's
  ops::Compute compute_;
  BlockWalker walker_;
  ActivationBudget& budget_;
  HiddenStates hidden_;
  std::string digest_;  // of all ranks' tokens
  StatisticsWriter writer_;
  std::optional<HessianCollector> hessians_;
};

json languages_summary(const TokenSet& tokens) {
  json languages = json::object();
  for (size_t l = 0; l < tokens.languages.size(); ++l) {
    const int64_t count = tokens.count_of(static_cast<int>(l));
    int64_t available = 0;
    for (const json& text : tokens.texts) {
      if (text.at("language") == tokens.languages[l]) available += text.at("tokens_available").get<int64_t>();
    }
    languages[tokens.languages[l]] = {
        {"sequences", count}, {"tokens", count * tokens.length}, {"tokens_available", available}};
  }
  return languages;
}

}  // namespace

Status run_calibrate(StageContext& context) {
  const json& with = context.task.with;
  GQ_ASSIGN_OR_RETURN(const ops::Compute compute,
                      device::resolve_compute(with.at("compute").get<std::string>(), context.cpu));
  GQ_ASSIGN_OR_RETURN(const ModelSource source, open_analyzed_model(context));
  TokenSet tokens;
  GQ_RETURN_IF_ERROR(on_first_rank(context.comm, [&]() -> Status {
    GQ_ASSIGN_OR_RETURN(tokens, tokenize(context, source, compute));
    return write_tokens(context.env, context.task.artifact, tokens);
  }));
  GQ_RETURN_IF_ERROR(broadcast_tokens(context.comm, tokens));
  const std::string statistics = with.at("statistics").get<std::string>();
  json experts = json::array();
  if (statistics != "none") {
    ActivationBudget budget(context.env, context.task.artifact, size_parameter(with, "hiddenStatesBudget"));
    Measurement measurement(context, source, tokens, compute, budget);
    GQ_RETURN_IF_ERROR(measurement.run(statistics == "hessian"));
    experts = measurement.experts();
  }
  context.summary = {{"sequence_length", tokens.length},         {"sequences", tokens.count()},
                     {"tokens", tokens.count() * tokens.length}, {"seed", with.at("seed")},
                     {"tokens_digest", tokens.digest},           {"statistics", statistics},
                     {"compute", device::name_of(compute)},      {"languages", languages_summary(tokens)}};
  if (!experts.empty()) context.summary["experts"] = std::move(experts);
  return absl::OkStatus();
}

}  // namespace gridquant::stages
