// Oniguruma (Ruby syntax) -> PCRE2. Differences handled: \s \S \w \W \d \D and \p{...} (other Unicode version, other
// meanings), possessive counted repeats, nested and intersected classes, \h \v \R \X, inline flags, back-references.
#include <optional>

#include "engine/text/pattern.h"
#include "engine/text/unicode_properties.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  StatusOr<std::string> run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      Status status;
      if (c == '\\') {
        status = escape(false);
      } else if (c == '[') {
        status = character_class();
      } else if (c == '(') {
        status = group();
      } else if (c == '{') {
        status = counted_repeat();
      } else {
        out_.push_back(c);
        ++at_;
      }
      if (!status.ok()) return status;
    }
    return std::move(out_);
  }

 private:
  Status refuse(const std::string& what) const {
    return absl::UnimplementedError("regular expression '" + std::string(pattern_) + "': " + what + " at byte " +
                                    std::to_string(at_) + " is not supported");
  }
  char peek(size_t ahead) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  bool follows(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  void copy(size_t bytes) {
    out_.append(pattern_.substr(at_, bytes));
    at_ += bytes;
  }

  // The members of a property, as a class of its own or within one.
  Status property(std::string_view name, bool negated, bool in_class) {
    const UnicodeProperty* found = find_unicode_property(name);
    if (found == nullptr) return refuse("the property \\p{" + std::string(name) + "}");
    if (in_class && negated) return refuse("a negated property inside a class");
    const std::string members = class_members_of(*found);
    if (in_class) {
      out_ += members;
    } else {
      out_ += (negated ? "[^" : "[") + members + "]";
    }
    return absl::OkStatus();
  }

  Status braced_property(bool in_class) {
    const size_t close = pattern_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos) return refuse("\\p without braces");
    std::string_view name = pattern_.substr(at_ + 3, close - at_ - 3);
    bool negated = peek(1) == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    GQ_RETURN_IF_ERROR(property(name, negated, in_class));
    at_ = close + 1;
    return absl::OkStatus();
  }

  // \x41, \x{41}, \u0041 -> \x{41}. \x80 and above would be a raw byte, not a character.
  Status code_point() {
    const bool braced = peek(2) == '{';
    const size_t first = at_ + (braced ? 3 : 2);
    size_t end = first;
    const size_t most = braced ? 8 : (peek(1) == 'u' ? 4 : 2);
    while (end < pattern_.size() && end - first < most && is_hex(pattern_[end])) ++end;
    const bool closed = !braced || (end < pattern_.size() && pattern_[end] == '}');
    if (end == first || !closed || (!braced && end - first != most)) return refuse("an odd hexadecimal escape");
    const std::string digits(pattern_.substr(first, end - first));
    if (!braced && peek(1) == 'x' && std::stoul(digits, nullptr, 16) >= 0x80) return refuse("a raw byte");
    out_ += "\\x{" + digits + "}";
    at_ = end + (braced ? 1 : 0);
    return absl::OkStatus();
  }

  Status escape(bool in_class) {
    const char c = peek(1);
    if (at_ + 1 >= pattern_.size()) return refuse("a backslash at the end");
    switch (c) {
      case 's':
        out_ += R"(\p{White_Space})";  // PCRE2's \s also has U+180E
        break;
      case 'S':
        out_ += R"(\P{White_Space})";
        break;
      case 'd':
      case 'D':
        GQ_RETURN_IF_ERROR(property("Nd", c == 'D', in_class));
        break;
      case 'w':
      case 'W':
        GQ_RETURN_IF_ERROR(property("w", c == 'W', in_class));
        break;
      case 'p':
      case 'P':
        return braced_property(in_class);
      case 'x':
      case 'u':
        return code_point();
      case 'n':
      case 'r':
      case 't':
      case 'f':
        out_ += std::string("\\") + c;
        break;
      case 'v':
        out_ += R"(\x{0B})";
        break;
      case 'A':
      case 'z':
      case 'Z':
        if (in_class) return refuse(std::string("\\") + c + " inside a class");
        out_ += std::string("\\") + c;
        break;
      default:
        if (is_letter(c) || is_digit(c)) return refuse(std::string("\\") + c);
        if (is_ascii(c)) out_.push_back('\\');  // a letter beyond ASCII stands for itself in both
        out_.push_back(c);
        break;
    }
    at_ += 2;
    return absl::OkStatus();
  }

  Status character_class() {
    copy(1);
    if (peek(0) == '^') copy(1);
    if (peek(0) == ']') return refuse("a class that begins with ]");
    while (at_ < pattern_.size() && pattern_[at_] != ']') {
      if (pattern_[at_] == '\\') {
        GQ_RETURN_IF_ERROR(escape(true));
      } else if (pattern_[at_] == '[') {
        return refuse("a class inside a class");
      } else if (follows("&&")) {
        return refuse("an intersection of classes");
      } else {
        copy(1);
      }
    }
    if (at_ >= pattern_.size()) return refuse("a class without ]");
    copy(1);
    return absl::OkStatus();
  }

  Status group() {
    if (peek(1) != '?') {
      out_ += "(?:";  // nobody reads captures
      ++at_;
      return absl::OkStatus();
    }
    for (const std::string_view start : {"(?:", "(?i:", "(?-i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"}) {
      if (follows(start)) {
        copy(start.size());
        return absl::OkStatus();
      }
    }
    // At the very beginning both engines apply the flag to everything.
    if (at_ == 0 && follows("(?i)")) {
      copy(4);
      return absl::OkStatus();
    }
    return refuse("this kind of group");
  }

  Status counted_repeat() {
    size_t end = at_ + 1;
    while (end < pattern_.size() && is_digit(pattern_[end])) ++end;
    const bool has_low = end > at_ + 1;
    const bool has_comma = end < pattern_.size() && pattern_[end] == ',';
    if (has_comma) ++end;
    while (end < pattern_.size() && is_digit(pattern_[end])) ++end;
    const bool closed = end < pattern_.size() && pattern_[end] == '}';
    if (!has_low || !closed) return refuse("{ that is not {n}, {n,} or {n,m}");
    copy(end + 1 - at_);
    if (peek(0) == '+' || peek(0) == '?' || peek(0) == '*') return refuse("a repeat after {n,m}");
    return absl::OkStatus();
  }

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

StatusOr<std::string> pcre2_from_oniguruma(std::string_view pattern) {
  if (pattern.find('\0') != std::string_view::npos || first_invalid_utf8(pattern) != kAllValid) {
    return absl::InvalidArgumentError("a regular expression holds a zero byte or is not UTF-8");
  }
  return Translator(pattern).run();
}

std::string pattern_of_literal(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    if (is_ascii(c) && !is_letter(c) && !is_digit(c)) pattern.push_back('\\');
    pattern.push_back(c);
  }
  return pattern;
}

}  // namespace gridquant::text
