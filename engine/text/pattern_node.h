// The "pattern" of a normalizer, pre-tokenizer or decoder in tokenizer.json: {"String": ...} or {"Regex": ...}.
#pragma once

#include <optional>
#include <string>

#include "engine/base/status.h"
#include "engine/text/json_node.h"
#include "engine/text/pattern.h"

namespace gridquant::text {

// The text of a String; nothing for a Regex.
StatusOr<std::optional<std::string>> literal_of(const JsonNode& pattern);
// Of either. Errors say where in the file.
StatusOr<Pattern> compile_pattern(const JsonNode& pattern);
// A regular expression as Oniguruma writes it, that stands at `node`.
StatusOr<Pattern> compile_oniguruma(const JsonNode& node, const std::string& oniguruma);

}  // namespace gridquant::text
