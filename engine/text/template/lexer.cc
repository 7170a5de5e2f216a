// Source to tokens. Not here: what they mean together (parser.cc).
#include "engine/text/template/lexer.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "engine/text/template/python_text.h"
#include "engine/text/template/string_literal.h"
#include "engine/text/utf8.h"

namespace gridquant::text::jinja {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

std::string_view without_spaces_at_end(std::string_view text) {
  return strip(text, std::nullopt, false, true);
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  StatusOr<std::vector<Token>> run() {
    while (at_ < source_.size()) GQ_RETURN_IF_ERROR(data_and_tag());
    add(Token::Kind::kEnd, "", source_.size());
    return std::move(tokens_);
  }

 private:
  Status fail(size_t at, const std::string& why) const {
    return absl::InvalidArgumentError(position_in(source_, at) + ": " + why);
  }

  Token& add(Token::Kind kind, std::string text, size_t at) {
    tokens_.push_back({kind, std::move(text), 0, 0, at});
    return tokens_.back();
  }

  void add_data(std::string_view text, size_t at) {
    if (!text.empty()) add(Token::Kind::kData, std::string(text), at);
  }

  // The next "{{", "{%" or "{#", or the end.
  size_t next_tag(size_t from) const {
    for (size_t at = source_.find('{', from); at != std::string_view::npos; at = source_.find('{', at + 1)) {
      if (at + 1 >= source_.size()) break;
      const char kind = source_[at + 1];
      if (kind == '{' || kind == '%' || kind == '#') return at;
    }
    return source_.size();
  }

  char sign_at(size_t at) const {
    return at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at] : '\0';
  }

  // The text before a tag, shortened as the tag's sign and lstrip_blocks ask.
  std::string_view before_tag(std::string_view text, char sign, bool is_output) const {
    if (sign == '-') return without_spaces_at_end(text);
    if (sign == '+' || is_output) return text;
    const size_t line = text.rfind('\n') + 1;  // npos + 1 is 0
    if (line == 0 && !line_starts_) return text;
    const std::string_view blanks = text.substr(line);
    return without_spaces_at_end(blanks).empty() ? text.substr(0, line) : text;
  }

  Status data_and_tag() {
    const size_t tag = next_tag(at_);
    const std::string_view text = source_.substr(at_, tag - at_);
    if (tag == source_.size()) {
      add_data(text, at_);
      at_ = tag;
      return absl::OkStatus();
    }
    const char kind = source_[tag + 1];
    const char sign = sign_at(tag + 2);
    add_data(before_tag(text, sign, kind == '{'), at_);
    at_ = tag + 2 + (sign != '\0' ? 1 : 0);
    if (kind == '#') return comment(tag);
    if (kind == '%') {
      const size_t raw = raw_tag_end(at_, "raw");
      if (raw != 0) return raw_block(tag, raw);
    }
    return tag_inside(tag, kind == '{');
  }

  // After the end of a tag: its sign and trim_blocks decide what white space goes.
  void after_tag(char sign, bool trims) {
    if (sign == '-') {
      while (at_ < source_.size()) {
        const CodePoint c = code_point_at(source_, at_);
        if (!is_space(c.value)) break;
        at_ += c.bytes;
      }
    } else if (trims && sign != '+' && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
    }
    line_starts_ = at_ > 0 && source_[at_ - 1] == '\n';
  }

  Status comment(size_t tag) {
    const size_t end = source_.find("#}", at_);
    if (end == std::string_view::npos) return fail(tag, "the comment is not closed by #}");
    const char sign = end > at_ ? sign_at(end - 1) : '\0';
    at_ = end + 2;
    after_tag(sign, true);
    return absl::OkStatus();
  }

  // The byte after "raw %}" (or "endraw %}") at `at`, with its end's sign; 0 if it is not there.
  size_t raw_tag_end(size_t at, std::string_view name) const {
    at = skip_spaces(at);
    if (source_.substr(at, name.size()) != name) return 0;
    at = skip_spaces(at + name.size());
    if (sign_at(at) != '\0') ++at;
    return source_.substr(at, 2) == "%}" ? at + 2 : 0;
  }

  size_t skip_spaces(size_t at) const {
    while (at < source_.size()) {
      const CodePoint c = code_point_at(source_, at);
      if (!is_space(c.value)) break;
      at += c.bytes;
    }
    return at;
  }

  Status raw_block(size_t tag, size_t begin) {
    at_ = begin;
    after_tag(source_[begin - 3] == '-' ? '-' : '+', false);
    for (size_t end = source_.find("{%", at_); end != std::string_view::npos; end = source_.find("{%", end + 1)) {
      const char sign = sign_at(end + 2);
      const size_t stop = raw_tag_end(end + 2 + (sign != '\0' ? 1 : 0), "endraw");
      if (stop == 0) continue;
      add_data(before_tag(source_.substr(at_, end - at_), sign, false), at_);
      at_ = stop;
      after_tag(sign_at(stop - 3), true);
      return absl::OkStatus();
    }
    return fail(tag, "raw is not closed by endraw");
  }

  Status tag_inside(size_t tag, bool is_output) {
    add(is_output ? Token::Kind::kOutputBegin : Token::Kind::kBlockBegin, "", tag);
    const std::string_view closing = is_output ? "}}" : "%}";
    std::string open;  // brackets that wait for their end
    while (true) {
      at_ = skip_spaces(at_);
      if (at_ >= source_.size()) return fail(tag, std::string("the tag is not closed by ") + std::string(closing));
      if (open.empty()) {
        const char sign = sign_at(at_);
        const bool signed_end = sign == '-' || (sign == '+' && !is_output);
        const size_t end = at_ + (signed_end ? 1 : 0);
        if (source_.substr(end, 2) == closing) {
          add(is_output ? Token::Kind::kOutputEnd : Token::Kind::kBlockEnd, "", at_);
          at_ = end + 2;
          after_tag(signed_end ? sign : '\0', !is_output);
          return absl::OkStatus();
        }
      }
      GQ_RETURN_IF_ERROR(token(open));
    }
  }

  Status token(std::string& open) {
    const char c = source_[at_];
    if (is_digit(c)) return number();
    if (is_name_start(c)) return name();
    if (c == '\'' || c == '"') return literal();
    return sign(open);
  }

  Status name() {
    const size_t begin = at_;
    while (at_ < source_.size() && (is_name_start(source_[at_]) || is_digit(source_[at_]))) ++at_;
    add(Token::Kind::kName, std::string(source_.substr(begin, at_ - begin)), begin);
    return absl::OkStatus();
  }

  Status literal() {
    const size_t begin = at_;
    const char quote = source_[at_++];
    while (at_ < source_.size() && source_[at_] != quote) at_ += source_[at_] == '\\' ? 2 : 1;
    if (at_ >= source_.size()) return fail(begin, "the string is not closed");
    StatusOr<std::string> value = string_literal_value(source_.substr(begin + 1, at_ - begin - 1));
    if (!value.ok()) return fail(begin, std::string(value.status().message()));
    ++at_;
    add(Token::Kind::kText, *std::move(value), begin);
    return absl::OkStatus();
  }

  std::string digits() {
    std::string text;
    while (at_ < source_.size()) {
      const bool joint = source_[at_] == '_' && at_ + 1 < source_.size() && is_digit(source_[at_ + 1]);
      if (!is_digit(source_[at_]) && !joint) break;
      if (!joint) text += source_[at_];
      ++at_;
    }
    return text;
  }

  Status number() {
    const size_t begin = at_;
    const char base = source_[begin] == '0' && begin + 1 < source_.size() ? source_[begin + 1] : '\0';
    if (std::string_view("xXoObB").find(base) != std::string_view::npos && base != '\0') {
      return fail(begin, "only decimal numbers are supported");
    }
    std::string text = digits();
    bool is_float = false;
    if (at_ + 1 < source_.size() && source_[at_] == '.' && is_digit(source_[at_ + 1])) {
      is_float = true;
      ++at_;
      text += "." + digits();
    }
    if (at_ < source_.size() && (source_[at_] | 0x20) == 'e') {
      const size_t sign = sign_at(at_ + 1) != '\0' ? 1 : 0;
      if (at_ + 1 + sign < source_.size() && is_digit(source_[at_ + 1 + sign])) {
        is_float = true;
        text += sign != 0 && source_[at_ + 1] == '-' ? "e-" : "e";
        at_ += 1 + sign;
        text += digits();
      }
    }
    Token& token = add(is_float ? Token::Kind::kFloat : Token::Kind::kInt, "", begin);
    const char* end = text.data() + text.size();
    const auto parsed =
        is_float ? std::from_chars(text.data(), end, token.number) : std::from_chars(text.data(), end, token.whole);
    if (parsed.ec != std::errc() || parsed.ptr != end) return fail(begin, "the number " + text + " is out of range");
    return absl::OkStatus();
  }

  Status sign(std::string& open) {
    static constexpr std::string_view kSigns[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                  "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                  ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const std::string_view text : kSigns) {
      if (source_.substr(at_, text.size()) != text) continue;
      static constexpr std::string_view kOpen = "([{";
      static constexpr std::string_view kClose = ")]}";
      if (const size_t which = kOpen.find(text); which < kClose.size()) open += kClose[which];
      if (kClose.find(text) != std::string_view::npos) {
        if (open.empty() || open.back() != text[0]) return fail(at_, "unexpected '" + std::string(text) + "'");
        open.pop_back();
      }
      add(Token::Kind::kSign, std::string(text), at_);
      at_ += text.size();
      return absl::OkStatus();
    }
    return fail(at_, "unexpected character " +
                         repr_of(Value::of(std::string(source_.substr(at_, code_point_at(source_, at_).bytes)))));
  }

  std::string_view source_;
  size_t at_ = 0;
  bool line_starts_ = true;  // nothing stands before at_ in its line
  std::vector<Token> tokens_;
};

}  // namespace

std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') continue;
      out += '\n';
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

std::string position_in(std::string_view source, size_t at) {
  const std::string_view before = source.substr(0, at);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  return std::to_string(line) + ":" + std::to_string(1 + code_points_in(before.substr(before.rfind('\n') + 1)));
}

StatusOr<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace gridquant::text::jinja
