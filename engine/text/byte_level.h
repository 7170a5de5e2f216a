// GPT-2's alphabet: every byte has a printable character that stands for it in a byte-level vocabulary.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gridquant::text {

// The bytes that `token` (UTF-8) stands for; nothing if one of its characters is not of the alphabet.
std::optional<std::string> bytes_of_byte_level(std::string_view token);

}  // namespace gridquant::text
