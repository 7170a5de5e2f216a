#include "engine/text/normalizer.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "engine/text/character_classes.h"
#include "engine/text/pattern_node.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

constexpr size_t kMaxNormalizers = 32;

struct FormName {
  std::string_view name;
  NormalForm form;
};
constexpr FormName kForms[] = {
    {"NFC", NormalForm::kNfc}, {"NFD", NormalForm::kNfd}, {"NFKC", NormalForm::kNfkc}, {"NFKD", NormalForm::kNfkd}};

std::string_view stripped(std::string_view text, bool left, bool right) {
  while (left && !text.empty()) {
    const CodePoint c = code_point_at(text, 0);
    if (!is_white_space(c.value)) break;
    text.remove_prefix(c.bytes);
  }
  while (right && !text.empty()) {
    const CodePoint c = code_point_before(text, text.size());
    if (!is_white_space(c.value)) break;
    text.remove_suffix(c.bytes);
  }
  return text;
}

template <typename Append>
std::string_view rewrite(std::string_view text, std::deque<std::string>& buffers, Append append) {
  std::string& to = buffers.emplace_back();
  to.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    append(to, c.value, text.substr(i, c.bytes));
    i += c.bytes;
  }
  return to;
}

std::string_view replaced(std::string_view text, const std::string& from, const std::string& with,
                          std::deque<std::string>& buffers) {
  size_t at = text.find(from);
  if (at == std::string_view::npos) return text;
  std::string& to = buffers.emplace_back();
  to.reserve(text.size() + text.size() / 2);
  size_t done = 0;
  for (; at != std::string_view::npos; at = text.find(from, done)) {
    to.append(text.substr(done, at - done)).append(with);
    done = at + from.size();
  }
  to.append(text.substr(done));
  return to;
}

}  // namespace

StatusOr<Normalizer> Normalizer::parse(const JsonNode& node) {
  Normalizer normalizer;
  if (!node.is_null()) GQ_RETURN_IF_ERROR(normalizer.add(node));
  return normalizer;
}

void Normalizer::add_prepend(std::string text) {
  Step step;
  step.kind = Kind::kPrepend;
  step.to = std::move(text);
  steps_.push_back(std::move(step));
}

void Normalizer::add_replace(std::string from, std::string to) {
  Step step;
  step.kind = Kind::kReplace;
  step.from = std::move(from);
  step.to = std::move(to);
  steps_.push_back(std::move(step));
}

void Normalizer::add_replace(Pattern from, std::string to) {
  Step step;
  step.kind = Kind::kReplacePattern;
  step.to = std::move(to);
  step.pattern = std::make_shared<const Pattern>(std::move(from));
  steps_.push_back(std::move(step));
}

Status Normalizer::add(const JsonNode& node) {
  const StatusOr<std::string> type = node.type();
  if (!type.ok()) return type.status();
  if (*type != "Sequence") return add_step(node, *type);
  GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array_at("normalizers"));
  for (const JsonNode& part : parts) GQ_RETURN_IF_ERROR(add(part));
  return absl::OkStatus();
}

Status Normalizer::add_step(const JsonNode& node, const std::string& type) {
  if (steps_.size() >= kMaxNormalizers) return node.unimplemented("more than 32 normalizers are not supported");
  if (type == "Strip") return add_strip(node);
  if (type == "Replace") return add_replace_of(node);
  if (type == "Prepend") {
    GQ_ASSIGN_OR_RETURN(std::string text, node.string_at("prepend"));
    add_prepend(std::move(text));
    return absl::OkStatus();
  }
  const auto* const form =
      std::find_if(std::begin(kForms), std::end(kForms), [&](const FormName& entry) { return entry.name == type; });
  Step step;
  if (form != std::end(kForms)) {
    step.form = form->form;
  } else if (type == "Lowercase") {
    step.kind = Kind::kLowercase;
  } else if (type == "StripAccents") {
    step.kind = Kind::kStripAccents;
  } else {
    return node.unsupported("normalizer", type);
  }
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

Status Normalizer::add_strip(const JsonNode& node) {
  Step step;
  step.kind = Kind::kStrip;
  GQ_ASSIGN_OR_RETURN(step.left, node.bool_at("strip_left", true));
  GQ_ASSIGN_OR_RETURN(step.right, node.bool_at("strip_right", true));
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

Status Normalizer::add_replace_of(const JsonNode& node) {
  GQ_ASSIGN_OR_RETURN(std::string content, node.string_at("content"));
  GQ_ASSIGN_OR_RETURN(const JsonNode pattern, node.child("pattern"));
  GQ_ASSIGN_OR_RETURN(const std::optional<std::string> literal, literal_of(pattern));
  if (literal.has_value() && !literal->empty()) {
    add_replace(*literal, std::move(content));
    return absl::OkStatus();
  }
  GQ_ASSIGN_OR_RETURN(Pattern compiled, compile_pattern(pattern));
  add_replace(std::move(compiled), std::move(content));
  return absl::OkStatus();
}

StatusOr<std::string_view> Normalizer::apply(std::string_view text, std::deque<std::string>& buffers) const {
  for (const Step& step : steps_) {
    GQ_ASSIGN_OR_RETURN(text, run(step, text, buffers));
  }
  return text;
}

StatusOr<std::string_view> Normalizer::run(const Step& step, std::string_view text, std::deque<std::string>& buffers) {
  switch (step.kind) {
    case Kind::kForm:
      return normalize(step.form, text, buffers);
    case Kind::kLowercase:
      return rewrite(text, buffers, [](std::string& to, char32_t c, std::string_view) { append_lower_case(to, c); });
    case Kind::kStrip:
      return stripped(text, step.left, step.right);
    case Kind::kStripAccents:
      return rewrite(text, buffers, [](std::string& to, char32_t c, std::string_view bytes) {
        if (!is_mark(c)) to.append(bytes);
      });
    case Kind::kPrepend:
      if (text.empty()) return text;
      return std::string_view(buffers.emplace_back(step.to + std::string(text)));
    case Kind::kReplace:
      return replaced(text, step.from, step.to, buffers);
    case Kind::kReplacePattern:
      return replace_pattern(step, text, buffers);
  }
  return text;
}

StatusOr<std::string_view> Normalizer::replace_pattern(const Step& step, std::string_view text,
                                                       std::deque<std::string>& buffers) {
  MatchScratch scratch;
  GQ_ASSIGN_OR_RETURN(const std::vector<Match> matches, step.pattern->find_all(text, scratch));
  if (matches.empty()) return text;
  std::string& to = buffers.emplace_back();
  size_t done = 0;
  for (const Match& match : matches) {
    to.append(text.substr(done, match.begin - done)).append(step.to);
    done = match.end;
  }
  to.append(text.substr(done));
  return std::string_view(to);
}

}  // namespace gridquant::text
