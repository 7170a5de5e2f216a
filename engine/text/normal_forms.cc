// All through utf8proc. NFC, which real tokenizers use, only where it can matter: text is cut before characters that
// never join with what stands in front of them, and a piece that is one such character stays as it is.
#include "engine/text/normal_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "engine/text/character_classes.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

// Starters that are their own NFC and are never the second half of a composition. Not all of them: enough for the
// scripts that texts are long in. (Hangul syllables are here; the jamo that could follow one are not.)
bool stands_alone(char32_t c) {
  return c < 0x300 || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x400 && c <= 0x482) ||
         (c >= 0x2010 && c <= 0x206F) || (c >= 0x3041 && c <= 0x3096) || (c >= 0x30A1 && c <= 0x30FA) ||
         (c >= 0x3000 && c <= 0x3029) || (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0xFF01 && c <= 0xFFEF) ||
         is_unknown_to_normal_forms(c);
}

struct Free {
  void operator()(utf8proc_uint8_t* memory) const { std::free(memory); }
};

Status append_normalized(std::string_view piece, int form, std::string& to) {
  if (piece.empty()) return absl::OkStatus();
  utf8proc_uint8_t* raw = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form);
  const utf8proc_ssize_t bytes = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(piece.data()),
                                              static_cast<utf8proc_ssize_t>(piece.size()), &raw, options);
  const std::unique_ptr<utf8proc_uint8_t, Free> owner(raw);
  if (bytes < 0) return absl::ResourceExhaustedError(std::string("normalizing text failed: ") + utf8proc_errmsg(bytes));
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
    last = is_unknown_to_normal_forms(c.value) ? i + c.bytes : i;
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

StatusOr<std::string_view> to_nfc(std::string_view text, std::deque<std::string>& buffers) {
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
    GQ_RETURN_IF_ERROR(append_normalized(text.substr(plain_end, end - plain_end), UTF8PROC_COMPOSE, to));
    from = end;
  }
  return std::string_view(to);
}

}  // namespace

StatusOr<std::string_view> normalize(NormalForm form, std::string_view text, std::deque<std::string>& buffers) {
  if (form == NormalForm::kNfc) return to_nfc(text, buffers);
  const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (ascii) return text;
  const bool compatibility = form != NormalForm::kNfd;
  const int options =
      (form == NormalForm::kNfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compatibility ? UTF8PROC_COMPAT : 0);
  std::string& to = buffers.emplace_back();
  to.reserve(text.size());
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    const size_t end = i + c.bytes;
    if (is_unknown_to_normal_forms(c.value) || (compatibility && is_unknown_to_compatibility(c.value))) {
      GQ_RETURN_IF_ERROR(append_normalized(text.substr(done, i - done), options, to));
      to.append(text.substr(i, c.bytes));
      done = end;
    }
    i = end;
  }
  GQ_RETURN_IF_ERROR(append_normalized(text.substr(done), options, to));
  return std::string_view(to);
}

}  // namespace gridquant::text
