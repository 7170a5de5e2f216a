// NFC through utf8proc, but only where it can matter: text is cut before characters that never join with what stands
// in front of them, and a piece that is one such character stays as it is.
#include "engine/text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>

#include "engine/text/unicode_properties.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

// Characters newer than the tables of Hugging Face tokenizers (Unicode 9), which takes them for letters that nothing
// happens to: marks to utf8proc (Unicode 15), and the two that compose or decompose. Made by asking both about every
// code point.
constexpr CodePointRange kUnknownToLibrary[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0},
    {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136},
    {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};

bool is_unknown_to_library(char32_t c) {
  const auto* const range = std::lower_bound(std::begin(kUnknownToLibrary), std::end(kUnknownToLibrary), c,
                                             [](const CodePointRange& r, char32_t value) { return r.last < value; });
  return range != std::end(kUnknownToLibrary) && range->first <= c;
}

// Starters that are their own NFC and are never the second half of a composition. Not all of them: enough for the
// scripts that texts are long in. (Hangul syllables are here; the jamo that could follow one are not.)
bool stands_alone(char32_t c) {
  return c < 0x300 || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x400 && c <= 0x482) ||
         (c >= 0x2010 && c <= 0x206F) || (c >= 0x3041 && c <= 0x3096) || (c >= 0x30A1 && c <= 0x30FA) ||
         (c >= 0x3000 && c <= 0x3029) || (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0xFF01 && c <= 0xFFEF) ||
         is_unknown_to_library(c);
}

struct Free {
  void operator()(utf8proc_uint8_t* memory) const { std::free(memory); }
};

Status append_nfc(std::string_view piece, std::string& to) {
  utf8proc_uint8_t* raw = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const utf8proc_ssize_t bytes = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(piece.data()),
                                              static_cast<utf8proc_ssize_t>(piece.size()), &raw, options);
  const std::unique_ptr<utf8proc_uint8_t, Free> owner(raw);
  if (bytes < 0) return absl::ResourceExhaustedError(std::string("NFC failed: ") + utf8proc_errmsg(bytes));
  to.append(reinterpret_cast<const char*>(raw), static_cast<size_t>(bytes));
  return absl::OkStatus();
}

// End of the part of `text` from `from` on that NFC surely leaves alone: before the last character in front of one
// that may change or join, or behind that one if nothing ever joins it.
size_t end_of_plain(std::string_view text, size_t from) {
  size_t last = from;
  for (size_t i = from; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (!stands_alone(c.value)) return last;
    last = is_unknown_to_library(c.value) ? i + c.bytes : i;
    i += c.bytes;
  }
  return text.size();
}

size_t end_of_changing(std::string_view text, size_t from) {
  size_t i = from + code_point_at(text, from).bytes;
  while (i < text.size()) {
    const CodePoint c = code_point_at(text, i);
    if (stands_alone(c.value)) break;
    i += c.bytes;
  }
  return i;
}

}  // namespace

StatusOr<Normalizer> Normalizer::parse(const JsonNode& node) {
  Normalizer normalizer;
  if (node.is_null()) return normalizer;
  GQ_ASSIGN_OR_RETURN(const std::string type, node.type());
  if (type == "NFC") {
    normalizer.nfc_ = true;
    return normalizer;
  }
  if (type != "Sequence") return node.unsupported("normalizer", type);
  GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array_at("normalizers"));
  for (const JsonNode& part : parts) {
    if (part.is_null()) return part.malformed("a normalizer");
    GQ_ASSIGN_OR_RETURN(const Normalizer inner, parse(part));
    normalizer.nfc_ = normalizer.nfc_ || inner.nfc_;
  }
  return normalizer;
}

StatusOr<std::string_view> Normalizer::apply(std::string_view text, std::deque<std::string>& buffers) const {
  if (!nfc_) return text;
  size_t plain_end = end_of_plain(text, 0);
  if (plain_end == text.size()) return text;
  std::string& to = buffers.emplace_back();
  to.reserve(text.size());
  size_t from = 0;
  while (from < text.size()) {
    plain_end = end_of_plain(text, from);
    to.append(text.substr(from, plain_end - from));
    if (plain_end == text.size()) break;
    const size_t end = end_of_changing(text, plain_end);
    GQ_RETURN_IF_ERROR(append_nfc(text.substr(plain_end, end - plain_end), to));
    from = end;
  }
  return std::string_view(to);
}

}  // namespace gridquant::text
