#include "engine/text/decoder.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/text/byte_level.h"
#include "engine/text/pattern_node.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

constexpr size_t kMaxDecoders = 32;
constexpr uint64_t kMaxStrip = 1 << 20;
constexpr const char* kSpaceMark = "\xE2\x96\x81";  // U+2581

// Bytes beside each other are one text; if they are not UTF-8, every one of them is U+FFFD.
void put_bytes_together(std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (first_invalid_utf8(bytes) == kAllValid) {
      out.push_back(bytes);
    } else {
      for (size_t i = 0; i < bytes.size(); ++i) append_utf8(out.emplace_back(), 0xFFFD);
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const std::optional<char> byte = byte_of_token(token)) {
      bytes.push_back(*byte);
      continue;
    }
    flush();
    out.push_back(std::move(token));
  }
  flush();
  tokens = std::move(out);
}

std::string joined(const std::vector<std::string>& tokens, std::string_view between) {
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) text += between;
    text += tokens[i];
  }
  return text;
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to) {
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  return out.append(text, done);
}

std::string replaced(const std::string& text, const Pattern& pattern, const std::string& to) {
  MatchScratch scratch;
  const StatusOr<std::vector<Match>> matches = pattern.find_all(text, scratch);
  if (!matches.ok()) return text;  // the pattern gave up on this token
  std::string out;
  size_t done = 0;
  for (const Match& match : *matches) {
    out.append(text, done, match.begin - done).append(to);
    done = match.end;
  }
  return out.append(text, done);
}

std::string stripped(std::string_view token, std::string_view content, size_t start, size_t stop) {
  for (; start > 0 && token.starts_with(content); --start) token.remove_prefix(content.size());
  for (; stop > 0 && token.ends_with(content); --stop) token.remove_suffix(content.size());
  return std::string(token);
}

}  // namespace

StatusOr<Decoder> Decoder::parse(const JsonNode& node) {
  Decoder decoder;
  if (node.is_null()) return decoder;
  GQ_RETURN_IF_ERROR(decoder.add(node));
  // Fuse joins what ByteLevel has joined already.
  const auto is = [](Kind kind) { return [kind](const Step& step) { return step.kind == kind; }; };
  const bool only = std::all_of(decoder.steps_.begin(), decoder.steps_.end(),
                                [&](const Step& step) { return is(Kind::kByteLevel)(step) || is(Kind::kFuse)(step); });
  decoder.byte_level_only_ = only && !decoder.steps_.empty() && decoder.steps_.front().kind == Kind::kByteLevel &&
                             std::count_if(decoder.steps_.begin(), decoder.steps_.end(), is(Kind::kByteLevel)) == 1;
  return decoder;
}

Decoder Decoder::sentencepiece(bool strips_first_space) {
  Decoder decoder;
  Step spaces;
  spaces.kind = Kind::kReplace;
  spaces.from = kSpaceMark;
  spaces.to = " ";
  Step bytes;
  bytes.kind = Kind::kByteFallback;
  Step strip;
  strip.kind = Kind::kStrip;
  strip.from = " ";
  strip.start = strips_first_space ? 1 : 0;
  decoder.steps_ = {std::move(spaces), std::move(bytes), Step{}, std::move(strip)};
  return decoder;
}

Status Decoder::add(const JsonNode& node) {
  GQ_ASSIGN_OR_RETURN(const std::string type, node.type());
  if (type == "Sequence") {
    GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array_at("decoders"));
    for (const JsonNode& part : parts) GQ_RETURN_IF_ERROR(add(part));
    return absl::OkStatus();
  }
  if (steps_.size() >= kMaxDecoders) return node.unimplemented("more than 32 decoders are not supported");
  GQ_ASSIGN_OR_RETURN(Step step, parse_step(node, type));
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

StatusOr<Decoder::Step> Decoder::parse_step(const JsonNode& node, const std::string& type) {
  Step step;
  if (type == "ByteLevel") {
    step.kind = Kind::kByteLevel;
  } else if (type == "ByteFallback") {
    step.kind = Kind::kByteFallback;
  } else if (type == "Fuse") {
    step.kind = Kind::kFuse;
  } else if (type == "Replace") {
    GQ_RETURN_IF_ERROR(parse_replace(node, step));
  } else if (type == "Strip") {
    GQ_RETURN_IF_ERROR(parse_strip(node, step));
  } else if (type == "Metaspace") {
    GQ_RETURN_IF_ERROR(parse_metaspace(node, step));
  } else {
    return node.unsupported("decoder", type);
  }
  return step;
}

Status Decoder::parse_replace(const JsonNode& node, Step& step) {
  GQ_ASSIGN_OR_RETURN(step.to, node.string_at("content"));
  GQ_ASSIGN_OR_RETURN(const JsonNode pattern, node.child("pattern"));
  GQ_ASSIGN_OR_RETURN(const std::optional<std::string> literal, literal_of(pattern));
  if (literal.has_value() && !literal->empty()) {
    step.kind = Kind::kReplace;
    step.from = *literal;
    return absl::OkStatus();
  }
  step.kind = Kind::kReplacePattern;
  GQ_ASSIGN_OR_RETURN(Pattern compiled, compile_pattern(pattern));
  step.pattern = std::make_shared<const Pattern>(std::move(compiled));
  return absl::OkStatus();
}

Status Decoder::parse_strip(const JsonNode& node, Step& step) {
  step.kind = Kind::kStrip;
  GQ_ASSIGN_OR_RETURN(step.from, node.string_at("content"));
  if (step.from.empty() || code_point_at(step.from, 0).bytes != step.from.size()) {
    return node.invalid("what is stripped must be one character");
  }
  for (const auto& [name, count] : {std::pair("start", &step.start), std::pair("stop", &step.stop)}) {
    GQ_ASSIGN_OR_RETURN(const JsonNode number, node.child(name));
    if (!number.value().is_number_unsigned()) return number.malformed("a count");
    *count = static_cast<size_t>(std::min(number.value().get<uint64_t>(), kMaxStrip));
  }
  return absl::OkStatus();
}

Status Decoder::parse_metaspace(const JsonNode& node, Step& step) {
  step.kind = Kind::kMetaspace;
  GQ_ASSIGN_OR_RETURN(step.from, node.string_at("replacement"));
  if (step.from.empty() || code_point_at(step.from, 0).bytes != step.from.size()) {
    return node.invalid("the replacement must be one character");
  }
  GQ_ASSIGN_OR_RETURN(const bool add_prefix_space, node.bool_at("add_prefix_space", true));
  GQ_ASSIGN_OR_RETURN(const JsonNode scheme, node.child("prepend_scheme"));
  step.drops_first = add_prefix_space;
  if (scheme.is_null()) return absl::OkStatus();
  GQ_ASSIGN_OR_RETURN(const std::string name, node.string_at("prepend_scheme"));
  if (name == "never") step.drops_first = false;
  return absl::OkStatus();
}

std::string Decoder::decode(std::vector<std::string> tokens) const {
  if (steps_.empty()) return with_replacements(joined(tokens, " "));
  for (const Step& step : steps_) run(step, tokens);
  return with_replacements(joined(tokens, ""));
}

void Decoder::run(const Step& step, std::vector<std::string>& tokens) {
  switch (step.kind) {
    case Kind::kByteLevel:
      for (std::string& token : tokens) token = bytes_of_byte_level(token).value_or(token);
      tokens = {with_replacements(joined(tokens, ""))};
      return;
    case Kind::kByteFallback:
      put_bytes_together(tokens);
      return;
    case Kind::kFuse:
      tokens = {joined(tokens, "")};
      return;
    case Kind::kReplace:
      for (std::string& token : tokens) token = replaced(token, step.from, step.to);
      return;
    case Kind::kReplacePattern:
      for (std::string& token : tokens) token = replaced(token, *step.pattern, step.to);
      return;
    case Kind::kStrip:
      for (std::string& token : tokens) token = stripped(token, step.from, step.start, step.stop);
      return;
    case Kind::kMetaspace:
      for (std::string& token : tokens) {
        const bool drops = step.drops_first && &token == tokens.data();
        token = replaced(token, step.from, drops ? "" : " ");
      }
      return;
  }
}

}  // namespace gridquant::text
