// Comma- and tab-separated values after RFC 4180: fields in double quotes may hold separators, line ends and, doubled,
// quotes. Line ends may be \n or \r\n; empty lines are left out. Works on bytes; the text's encoding is the caller's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::text {

struct CsvRow {
  int64_t line = 0;  // where it begins, from 1
  std::vector<std::string> fields;
};

// InvalidArgument "LINE: why" for a quote that is not closed, or text after a closing quote.
StatusOr<std::vector<CsvRow>> parse_csv(std::string_view text, char separator);

}  // namespace gridquant::text
