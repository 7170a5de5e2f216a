// How bytes are written in a vocabulary: GPT-2's alphabet, in which every byte has a printable character that stands
// for it, and the tokens <0x00> ... <0xFF> of vocabularies over characters.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gridquant::text {

// The bytes that `token` (UTF-8) stands for; nothing if one of its characters is not of the alphabet.
std::optional<std::string> bytes_of_byte_level(std::string_view token);

// The byte of "<0x0A>", or nothing.
std::optional<char> byte_of_token(std::string_view token);

}  // namespace gridquant::text
