// Stage validate: the original and the quantized model side by side on text that was not used for calibration.
// Leaves validation.json. Perplexity, KL to the original, top-1 agreement, per language; no logits file.
#include "absl/strings/str_cat.h"
#include "stages/committed_files.h"
#include "stages/context.h"
#include "stages/disjoint.h"
#include "stages/inputs.h"
#include "stages/model_pair.h"
#include "stages/parameters.h"
#include "stages/prefetch.h"
#include "stages/quantize_parts.h"
#include "stages/shard.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

// Evaluation text is taken in order: no seed, and every token at most once.
StatusOr<TokenSet> tokenize(StageContext& context, const ModelSource& source) {
  const json& with = context.task.with;
  const std::vector<int64_t> each(with.at("datasets").size(), with.at("samples").get<int64_t>());
  TokenRequest request;
  request.texts = source.texts;
  request.vocab_size = source.config.vocab_size;
  request.datasets = parse_datasets(with.at("datasets"), each);
  request.windows.length = with.at("sequenceLength").get<int64_t>();
  request.windows.packing = packing_of(with);
  context.progress.note("tokenizing");
  GQ_ASSIGN_OR_RETURN(TokenSet tokens, make_tokens(context.env, std::move(request)));
  for (const std::string& line : left_out(tokens)) context.progress.warning(line);
  return tokens;
}

json language_result(const eval::Divergence& d, int64_t sequences) {
  const double before = d.perplexity_original();
  const double after = d.perplexity_quantized();
  return {{"sequences", sequences},
          {"tokens", d.tokens},
          {"perplexity_original", before},
          {"perplexity_quantized", after},
          {"perplexity_increase", before > 0 ? after / before - 1 : 0.0},
          {"kl_mean", d.kl_mean()},
          {"kl_max", d.kl_max},
          {"top1_agreement", d.top1_agreement()}};
}

StatusOr<json> walk_blocks(StageContext& context, const ModelSource& original, const QuantizedSource& quantized,
                           const TokenSet& tokens, ModelPair& pair) {
  const int64_t blocks = original.config.block_count;
  json errors = json::array();
  const bool ahead = context.task.with.at("prefetch").get<bool>();
  Prefetcher<LoadedPair> loader(0, blocks, ahead, [&](int64_t b) { return load_pair(original, quantized, b); });
  for (int64_t b = 0; b < blocks; ++b) {
    GQ_RETURN_IF_ERROR(check_cancelled(context, ""));
    context.progress.progress(b, blocks + 1, "block", "comparing");
    GQ_ASSIGN_OR_RETURN(LoadedPair loaded, loader.take());
    GQ_ASSIGN_OR_RETURN(const std::vector<HiddenError> by_language, pair.walk(std::move(loaded)));
    json relative = json::object();
    for (size_t l = 0; l < by_language.size(); ++l) relative[tokens.languages[l]] = by_language[l].relative();
    errors.push_back({{"block", b}, {"relative_error", std::move(relative)}});
  }
  context.progress.progress(blocks, blocks + 1, "block", "comparing predictions");
  return errors;
}

}  // namespace

Status run_validate(StageContext& context) {
  GQ_ASSIGN_OR_RETURN(const ops::Compute compute,
                      device::resolve_compute(context.task.with.at("compute").get<std::string>(), context.cpu));
  GQ_ASSIGN_OR_RETURN(const ModelSource original, open_analyzed_model(context));
  GQ_ASSIGN_OR_RETURN(const std::string result, input_folder(context, "quantize"));
  GQ_RETURN_IF_ERROR(on_first_rank(context.comm, [&]() -> Status {
    GQ_ASSIGN_OR_RETURN(const CommittedFiles files, CommittedFiles::open(context.env, result));
    return files.verify_below(kCheckpoint, context.pool);
  }));
  GQ_ASSIGN_OR_RETURN(const QuantizedSource quantized,
                      open_quantized(context.env, base::join_path(result, kCheckpoint)));
  if (quantized.source.config.block_count != original.config.block_count ||
      quantized.source.config.vocab_size != original.config.vocab_size) {
    return absl::FailedPreconditionError(
        absl::StrCat(quantized.source.path, ": is not a quantized form of ", original.path));
  }
  TokenSet tokens;
  GQ_RETURN_IF_ERROR(on_first_rank(context.comm, [&]() -> Status {
    GQ_ASSIGN_OR_RETURN(const std::string calibration_folder, input_folder(context, "calibrate"));
    GQ_ASSIGN_OR_RETURN(const TokenSet calibration, read_tokens(context.env, calibration_folder));
    GQ_ASSIGN_OR_RETURN(tokens, tokenize(context, original));
    return check_disjoint(calibration, tokens);
  }));
  GQ_RETURN_IF_ERROR(broadcast_tokens(context.comm, tokens));
  const Shard shard(context.comm, tokens.count(), tokens.length);
  ModelPair pair(original, quantized, tokens, compute, {context.pool, shard});
  ActivationBudget budget(context.env, context.task.artifact, size_parameter(context.task.with, "hiddenStatesBudget"));
  GQ_RETURN_IF_ERROR(pair.reserve(budget));
  GQ_RETURN_IF_ERROR(pair.embed());
  GQ_ASSIGN_OR_RETURN(json blocks, walk_blocks(context, original, quantized, tokens, pair));
  GQ_ASSIGN_OR_RETURN(const std::vector<eval::Divergence> divergence, pair.predict());
  json languages = json::object();
  for (size_t l = 0; l < divergence.size(); ++l) {
    languages[tokens.languages[l]] = language_result(divergence[l], tokens.count_of(static_cast<int>(l)));
  }
  context.progress.progress(original.config.block_count + 1, original.config.block_count + 1, "block", "done");
  context.summary = {{"compute", device::name_of(compute)}, {"tokens_digest", tokens.digest},
                     {"sequence_length", tokens.length},    {"languages", std::move(languages)},
                     {"blocks", std::move(blocks)},         {"peak_rss_bytes", peak_rss_bytes()}};
  json file = context.summary;
  file.erase("peak_rss_bytes");
  file["format"] = 1;
  file["texts"] = tokens.texts;
  return on_first_rank(context.comm, [&] {
    return base::write_file_atomically(context.env, context.path("validation.json"), file.dump(1) + "\n");
  });
}

}  // namespace gridquant::stages
