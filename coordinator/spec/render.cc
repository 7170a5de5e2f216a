// Diagnostics for people (text with the source line and a caret) and for machines (JSON).
#include <algorithm>

#include <nlohmann/json.hpp>

#include "coordinator/spec/source.h"
#include "coordinator/spec/spec.h"

namespace gridquant::spec {
namespace {

constexpr int kMaxShown = 120;  // characters of a source line
constexpr int kLead = 60;       // of them before the column, if the line is longer

struct Paint {
  const char* bold = "";
  const char* error = "";
  const char* hint = "";
  const char* off = "";
};

std::string digits(int number, size_t width) {
  std::string text = std::to_string(number);
  return std::string(width - std::min(width, text.size()), ' ') + text;
}

// Splits a line at `column` (1-based, characters): the part before, `length` characters from there, both cut to what is
// shown.
struct Excerpt {
  std::string shown;
  std::string before;
  std::string marked;
};

Excerpt excerpt(std::string_view line, int column, int length) {
  size_t begin = 0;
  size_t at = 0;
  int skipped = std::max(0, count_characters(line) > kMaxShown ? column - 1 - kLead : 0);
  for (int i = 0; i < skipped && begin < line.size(); ++i) begin = next_character(line, begin);
  at = begin;
  for (int i = skipped; i < column - 1 && at < line.size(); ++i) at = next_character(line, at);
  size_t mark_end = at;
  size_t end = begin;
  for (int i = 0; i < length && mark_end < line.size(); ++i) mark_end = next_character(line, mark_end);
  for (int i = 0; i < kMaxShown && end < line.size(); ++i) end = next_character(line, end);
  mark_end = std::min(mark_end, std::max(end, at));
  Excerpt result;
  result.shown =
      (begin > 0 ? "..." : "") + std::string(line.substr(begin, end - begin)) + (end < line.size() ? "..." : "");
  result.before = (begin > 0 ? "..." : "") + std::string(line.substr(begin, at - begin));
  result.marked = std::string(line.substr(at, mark_end - at));
  return result;
}

void append(const Diagnostic& diagnostic, const SourceText& source, const Paint& paint, std::string& out) {
  out += std::string(paint.bold) + diagnostic.file + ":" + std::to_string(diagnostic.line) + ":" +
         std::to_string(diagnostic.column) + ": " + paint.off + paint.error + "error[" + diagnostic.code + "]" +
         paint.off + paint.bold + ": " + diagnostic.message + paint.off + "\n";
  const std::string_view line = source.line(diagnostic.line);
  if (!line.empty()) {
    const Excerpt shown = excerpt(line, diagnostic.column, diagnostic.length);
    const size_t width = std::max<size_t>(4, std::to_string(diagnostic.line).size());
    // Tabs stay tabs, so that the caret stands right whatever their width.
    std::string pad;
    for (size_t at = 0; at < shown.before.size();) {
      const size_t next = next_character(shown.before, at);
      const std::string_view character = std::string_view(shown.before).substr(at, next - at);
      pad += character == "\t" ? "\t" : std::string(display_width(character), ' ');
      at = next;
    }
    const int marks = std::max(1, display_width(shown.marked));
    out += digits(diagnostic.line, width) + " | " + shown.shown + "\n";
    out += std::string(width, ' ') + " | " + pad + paint.error + "^" + std::string(marks - 1, '~') + paint.off + "\n";
  }
  if (!diagnostic.hint.empty()) out += std::string(paint.hint) + "  hint: " + paint.off + diagnostic.hint + "\n";
}

}  // namespace

std::string render_text(const std::vector<Diagnostic>& diagnostics, std::string_view text, bool color) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  // A file that is no text must not reach a terminal.
  if (first_invalid_utf8(text) || first_control_character(text)) text = {};
  const SourceText source(text);
  const Paint paint = color ? Paint{"\033[1m", "\033[1;31m", "\033[36m", "\033[0m"} : Paint{};
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics) append(diagnostic, source, paint, out);
  return out;
}

std::string render_json(const std::vector<Diagnostic>& diagnostics) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Diagnostic& diagnostic : diagnostics) {
    list.push_back({{"file", diagnostic.file},
                    {"line", diagnostic.line},
                    {"column", diagnostic.column},
                    {"length", diagnostic.length},
                    {"code", diagnostic.code},
                    {"message", diagnostic.message},
                    {"hint", diagnostic.hint}});
  }
  return list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace gridquant::spec
