// A template's source as tokens, with Jinja's rules for white space as transformers sets them: trim_blocks (the line
// end after a block tag goes) and lstrip_blocks (the blanks before one go), and - and + beside a delimiter.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::text::jinja {

struct Token {
  enum class Kind { kData, kOutputBegin, kOutputEnd, kBlockBegin, kBlockEnd, kName, kText, kInt, kFloat, kSign, kEnd };
  Kind kind = Kind::kEnd;
  std::string text;  // data, name, sign ("//"); of kText: the string's value
  int64_t whole = 0;
  double number = 0;
  size_t at = 0;  // byte in the source
};

// `source` as Jinja reads it: line ends are \n, and the last one is left out.
std::string normalized(std::string_view source);

// "3:14" of byte `at`: line, and character in the line, from 1.
std::string position_in(std::string_view source, size_t at);

// `source` is normalized UTF-8. The last token is kEnd. InvalidArgument "LINE:COLUMN: why".
StatusOr<std::vector<Token>> tokenize(std::string_view source);

}  // namespace gridquant::text::jinja
