// Scalars as text: numbers, booleans, durations, sizes, names.
//
// Plain scalars are read by YAML 1.2's core rules, narrowed: true/false (also True, TRUE) are booleans, decimal
// integers without leading zeros and decimal fractions are numbers, everything else is text. So YAML 1.1's surprises do
// not happen: yes/no/on/off are text, 010 and 0x10 are text (and refused where a number is wanted, never 8 or 16).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace gridquant::spec {

nlohmann::json read_scalar(std::string_view text, bool quoted);  // integer, number, boolean or string

std::optional<int64_t> read_int(std::string_view text);
std::optional<double> read_number(std::string_view text);  // finite
std::optional<bool> read_bool(std::string_view text);

// One or more <number><unit> with units d h m s ms in falling order, each at most once: "500ms", "30s", "1h30m".
// In milliseconds; at most 10,000 days.
std::optional<int64_t> read_duration(std::string_view text);
// Bytes: "1048576", or a whole number with k M G T (powers of 1000) or Ki Mi Gi Ti (powers of 1024).
std::optional<int64_t> read_size(std::string_view text);

bool is_dns_label(std::string_view text);   // RFC 1123: 1 to 63 of a-z 0-9 -, no - at either end
bool is_identifier(std::string_view text);  // letter or _, then letters, digits, _ -; at most 63

std::string describe_value(const nlohmann::json& value);  // "the number 4", "the text 'abc'", "a list"
std::string render_value(const nlohmann::json& value);    // as embedded into text: 4, 0.05, true, abc

}  // namespace gridquant::spec
