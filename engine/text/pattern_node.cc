#include "engine/text/pattern_node.h"

#include <nlohmann/json.hpp>

namespace gridquant::text {

StatusOr<std::optional<std::string>> literal_of(const JsonNode& pattern) {
  if (!pattern.value().is_object()) return pattern.malformed("an object");
  if (!pattern.value().contains("String")) return std::optional<std::string>();
  GQ_ASSIGN_OR_RETURN(std::string text, pattern.string_at("String"));
  return std::optional<std::string>(std::move(text));
}

StatusOr<Pattern> compile_pattern(const JsonNode& pattern) {
  GQ_ASSIGN_OR_RETURN(const std::optional<std::string> literal, literal_of(pattern));
  if (literal.has_value()) return Pattern::compile(pattern_of_literal(*literal));
  GQ_ASSIGN_OR_RETURN(const std::string text, pattern.string_at("Regex"));
  GQ_ASSIGN_OR_RETURN(const JsonNode at, pattern.child("Regex"));
  return compile_oniguruma(at, text);
}

StatusOr<Pattern> compile_oniguruma(const JsonNode& node, const std::string& oniguruma) {
  const StatusOr<std::string> translated = pcre2_from_oniguruma(oniguruma);
  if (!translated.ok()) {
    const std::string why(translated.status().message());
    return absl::IsUnimplemented(translated.status()) ? node.unimplemented(why) : node.invalid(why);
  }
  StatusOr<Pattern> pattern = Pattern::compile(*translated);
  if (!pattern.ok()) return node.invalid(std::string(pattern.status().message()));
  return pattern;
}

}  // namespace gridquant::text
