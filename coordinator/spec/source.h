// The text of a file as lines and characters: where a byte stands, how wide a text is. Knows nothing of YAML.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gridquant::spec {

struct Position {
  int line = 1;    // 1-based
  int column = 1;  // 1-based, in characters
  int length = 1;  // characters to underline
};

// Borrows the text. Lines end with '\n'; a '\r' before it belongs to the line's end, not to the line.
class SourceText {
 public:
  explicit SourceText(std::string_view text);

  std::string_view text() const { return text_; }
  int line_count() const { return static_cast<int>(starts_.size()); }
  std::string_view line(int number) const;                        // 1-based; "" beyond the end
  size_t offset_of(int line, size_t byte_column) const;           // line 1-based, column 0-based; clamped to the text
  Position position_of(size_t offset, size_t byte_length) const;  // underlines at most to the end of the line

 private:
  std::string_view text_;
  std::vector<size_t> starts_;
  // Positions are asked for mostly in ascending order: remembering the last one keeps very long lines linear.
  mutable int last_line_ = 1;
  mutable size_t last_offset_ = 0;
  mutable int last_column_ = 1;
};

std::optional<size_t> first_invalid_utf8(std::string_view text);
std::optional<size_t> first_control_character(std::string_view text);  // other than tab, line feed, carriage return

int count_characters(std::string_view utf8);
size_t next_character(std::string_view utf8, size_t offset);          // offset of the following character
int display_width(std::string_view utf8);                             // terminal cells: Hangul, kana, CJK count two
std::string shorten(std::string_view utf8, int max_characters = 60);  // for messages: cut with "...", one line

}  // namespace gridquant::spec
