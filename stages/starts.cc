// Starts of generated sequences.
#include "stages/starts.h"

#include "absl/strings/str_cat.h"

namespace gridquant::stages {
namespace {

using Starts = std::vector<std::vector<int32_t>>;

StatusOr<Starts> without_prompts(const text::TextModel& model) {
  GQ_ASSIGN_OR_RETURN(std::vector<int32_t> added, model.tokenizer.encode("", true));
  if (!added.empty()) return Starts{std::move(added)};
  for (const char* name : {"bos_token", "eos_token"}) {
    const std::optional<int32_t> id = text::special_token_id(model, name);
    if (id.has_value()) return Starts{{*id}};
  }
  return absl::FailedPreconditionError(
      "generate: the tokenizer has neither a BOS nor an EOS token to begin with; name a file of prompts");
}

}  // namespace

StatusOr<Starts> read_starts(base::Env& env, const text::TextModel& model, const std::string& prompts, int64_t length) {
  if (prompts.empty()) return without_prompts(model);
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env, prompts));
  const std::string invalid = text::find_invalid_utf8(text);
  if (!invalid.empty()) return absl::InvalidArgumentError(absl::StrCat(prompts, ": is not UTF-8 at ", invalid));
  Starts starts;
  std::string_view rest = text;
  for (int64_t line = 1; !rest.empty(); ++line) {
    const size_t end = rest.find('\n');
    std::string_view prompt = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (prompt.ends_with('\r')) prompt.remove_suffix(1);
    if (prompt.empty()) continue;
    GQ_ASSIGN_OR_RETURN(std::vector<int32_t> ids, model.tokenizer.encode(prompt, true));
    if (static_cast<int64_t>(ids.size()) >= length) {
      return absl::FailedPreconditionError(absl::StrCat(prompts, ":", line, ": a prompt of ", ids.size(),
                                                        " tokens leaves nothing to generate in sequences of ", length));
    }
    starts.push_back(std::move(ids));
  }
  if (starts.empty()) return absl::FailedPreconditionError(absl::StrCat(prompts, ": has no prompt in it"));
  return starts;
}

}  // namespace gridquant::stages
