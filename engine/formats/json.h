// JSON that strangers wrote: refused before it can cost memory or mean two things. Not for JSON of our own.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "engine/base/status.h"

namespace gridquant::formats {

struct JsonLimits {
  size_t depth = 64;                      // nested objects and arrays
  size_t array_length = size_t{1} << 20;  // entries of one array
};

// Syntax, UTF-8, nothing after the value, no key twice in one object, the limits. FailedPrecondition; `path` leads the
// message.
Status check_json(std::string_view text, const std::string& path, const JsonLimits& limits);

// check_json, then the value; the root must be an object. Json: nlohmann::json or nlohmann::ordered_json.
template <typename Json>
StatusOr<Json> parse_json_object(std::string_view text, const std::string& path, const JsonLimits& limits) {
  GQ_RETURN_IF_ERROR(check_json(text, path, limits));
  Json value = Json::parse(text, nullptr, false);
  if (!value.is_object()) return absl::FailedPreconditionError(path + ": the JSON value is not an object");
  return value;
}

}  // namespace gridquant::formats
