// NFC through utf8proc, but only where it can matter: text is cut before characters that never join with what stands
// in front of them, and a piece that is one such character stays as it is.
#include "engine/text/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

// Starters that are their own NFC and are never the second half of a composition. Not all of them: enough for the
// scripts that texts are long in. (Hangul syllables are here; the jamo that could follow one are not.)
bool stands_alone(char32_t c) {
  return c < 0x300 || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x400 && c <= 0x482) ||
         (c >= 0x2010 && c <= 0x206F) || (c >= 0x3041 && c <= 0x3096) || (c >= 0x30A1 && c <= 0x30FA) ||
         (c >= 0x3000 && c <= 0x3029) || (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0xFF01 && c <= 0xFFEF);
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
// that may change or join.
size_t end_of_plain(std::string_view text, size_t from) {
  size_t last = from;
  for (size_t i = from; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (!stands_alone(c.value)) return last;
    last = i;
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
