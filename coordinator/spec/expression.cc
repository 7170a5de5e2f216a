#include "coordinator/spec/expression.h"

#include <cctype>

#include "coordinator/spec/scalars.h"

namespace gridquant::spec {
namespace {

using nlohmann::json;

enum class Token { kEnd, kLiteral, kName, kOperator, kError };

bool is_word_start(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_';
}
bool is_word(char c) {
  return is_word_start(c) || std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '-';
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) { next(); }

  Token token = Token::kEnd;
  std::string_view spelling;
  size_t offset = 0;
  json value;
  std::vector<std::string> path;
  ExpressionError error;

  bool is(std::string_view operation) const { return token == Token::kOperator && spelling == operation; }

  void next() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    offset = at_;
    if (at_ == text_.size()) {
      take(Token::kEnd, 0);
    } else if (text_[at_] == '\'') {
      quoted();
    } else if (std::isdigit(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '-') {
      number();
    } else if (is_word_start(text_[at_])) {
      word();
    } else {
      operation();
    }
  }

 private:
  void take(Token kind, size_t length) {
    token = kind;
    spelling = text_.substr(at_, length);
    at_ += length;
  }

  void fail(size_t length, std::string message, std::string hint = "") {
    take(Token::kError, length);
    error = {std::move(message), std::move(hint), offset, std::max<size_t>(1, length)};
  }

  void quoted() {
    std::string content;
    for (size_t i = at_ + 1; i < text_.size(); ++i) {
      if (text_[i] != '\'') {
        content += text_[i];
      } else if (i + 1 < text_.size() && text_[i + 1] == '\'') {
        content += text_[i++];
      } else {
        value = content;
        return take(Token::kLiteral, i + 1 - at_);
      }
    }
    fail(text_.size() - at_, "text in an expression is never closed", "add a '");
  }

  void number() {
    size_t end = at_ + 1;
    while (end < text_.size() && (is_word(text_[end]) || text_[end] == '.')) ++end;
    const std::string_view digits = text_.substr(at_, end - at_);
    value = read_scalar(digits, false);
    if (!value.is_number()) return fail(end - at_, "'" + std::string(digits) + "' is no number");
    take(Token::kLiteral, end - at_);
  }

  void word() {
    size_t end = at_;
    path.assign(1, "");
    while (end < text_.size()) {
      if (is_word(text_[end])) {
        path.back() += text_[end];
      } else if (text_[end] == '.' && end + 1 < text_.size() && is_word(text_[end + 1])) {
        path.emplace_back();
      } else {
        break;
      }
      ++end;
    }
    const size_t length = end - at_;
    if (path.size() > 1) return take(Token::kName, length);
    const std::string& single = path[0];
    if (single == "true" || single == "false") {
      value = single == "true";
    } else if (single == "null") {
      value = nullptr;
    } else if (single == "and" || single == "or" || single == "not") {
      return fail(length, "unknown operator '" + single + "'",
                  single == "and"  ? "write &&"
                  : single == "or" ? "write ||"
                                   : "write !");
    } else {
      return take(Token::kName, length);
    }
    take(Token::kLiteral, length);
  }

  void operation() {
    for (const std::string_view known : {"==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")"}) {
      if (text_.substr(at_).starts_with(known)) return take(Token::kOperator, known.size());
    }
    const char c = text_[at_];
    if (c == '"') return fail(1, "text in an expression stands in single quotes", "write '...'");
    if (c == '=') return fail(1, "unknown operator '='", "did you mean '=='?");
    if (c == '&') return fail(1, "unknown operator '&'", "did you mean '&&'?");
    if (c == '|') return fail(1, "unknown operator '|'", "did you mean '||'?");
    size_t end = at_ + 1;
    while (end < text_.size() && (text_[end] & 0xC0) == 0x80) ++end;  // the whole character, if it is not ASCII
    fail(end - at_, "'" + std::string(text_.substr(at_, end - at_)) + "' does not belong into an expression");
  }

  std::string_view text_;
  size_t at_ = 0;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text), size_(text.size()) {}

  ExpressionResult run() {
    if (or_() >= 0 && lexer_.token != Token::kEnd) unexpected();
    if (!errors_.empty()) return {{}, std::move(errors_)};
    return {{std::move(nodes_)}, {}};
  }

 private:
  int add(ExpressionNode node) {
    nodes_.push_back(std::move(node));
    return static_cast<int>(nodes_.size()) - 1;
  }

  int fail(ExpressionError error) {
    if (errors_.empty()) errors_.push_back(std::move(error));
    return -1;
  }

  int unexpected() {
    if (lexer_.token == Token::kError) return fail(lexer_.error);
    if (lexer_.token == Token::kEnd) {
      if (size_ == 0 || nodes_.empty()) return fail({"the expression is empty", "", 0, 1});
      return fail({"the expression ends too early", "", size_ == 0 ? 0 : size_ - 1, 1});
    }
    const bool chained = lexer_.token == Token::kOperator && lexer_.spelling != "(" && lexer_.spelling != ")";
    return fail({"'" + std::string(lexer_.spelling) + "' is not expected here", chained ? "use parentheses" : "",
                 lexer_.offset, lexer_.spelling.size()});
  }

  int binary(Operation operation, int left, int right) {
    if (right < 0) return -1;
    const size_t begin = nodes_[left].offset;
    const size_t end = nodes_[right].offset + nodes_[right].length;
    return add({.operation = operation,
                .value = {},
                .path = {},
                .left = left,
                .right = right,
                .offset = begin,
                .length = end - begin});
  }

  int or_() {
    int left = and_();
    while (left >= 0 && lexer_.is("||")) {
      lexer_.next();
      left = binary(Operation::kOr, left, and_());
    }
    return left;
  }

  int and_() {
    int left = equal();
    while (left >= 0 && lexer_.is("&&")) {
      lexer_.next();
      left = binary(Operation::kAnd, left, equal());
    }
    return left;
  }

  int equal() {
    const int left = order();
    if (left < 0 || (!lexer_.is("==") && !lexer_.is("!="))) return left;
    const Operation operation = lexer_.is("==") ? Operation::kEqual : Operation::kUnequal;
    lexer_.next();
    return binary(operation, left, order());
  }

  int order() {
    const int left = unary();
    if (left < 0) return left;
    Operation operation;
    if (lexer_.is("<")) {
      operation = Operation::kLess;
    } else if (lexer_.is("<=")) {
      operation = Operation::kLessEqual;
    } else if (lexer_.is(">")) {
      operation = Operation::kGreater;
    } else if (lexer_.is(">=")) {
      operation = Operation::kGreaterEqual;
    } else {
      return left;
    }
    lexer_.next();
    return binary(operation, left, unary());
  }

  int unary() {
    if (++depth_ > kMaxExpressionDepth) {
      return fail({"the expression is nested too deep", "", lexer_.offset, 1});
    }
    const int result = operand();
    --depth_;
    return result;
  }

  int operand() {
    const size_t begin = lexer_.offset;
    const size_t length = lexer_.spelling.size();
    if (lexer_.is("!")) {
      lexer_.next();
      const int inner = unary();
      if (inner < 0) return -1;
      return add({.operation = Operation::kNot,
                  .value = {},
                  .path = {},
                  .left = inner,
                  .right = -1,
                  .offset = begin,
                  .length = nodes_[inner].offset + nodes_[inner].length - begin});
    }
    if (lexer_.is("(")) {
      lexer_.next();
      const int inner = or_();
      if (inner < 0) return -1;
      if (!lexer_.is(")")) {
        if (lexer_.token == Token::kEnd) return fail({"a '(' is never closed", "add ')'", begin, 1});
        return unexpected();
      }
      lexer_.next();
      return inner;
    }
    if (lexer_.token == Token::kLiteral || lexer_.token == Token::kName) {
      const bool literal = lexer_.token == Token::kLiteral;
      ExpressionNode node{.operation = literal ? Operation::kLiteral : Operation::kName,
                          .value = literal ? lexer_.value : json(),
                          .path = literal ? std::vector<std::string>() : lexer_.path,
                          .left = -1,
                          .right = -1,
                          .offset = begin,
                          .length = length};
      lexer_.next();
      return add(std::move(node));
    }
    return unexpected();
  }

  Lexer lexer_;
  size_t size_;
  int depth_ = 0;
  std::vector<ExpressionNode> nodes_;
  std::vector<ExpressionError> errors_;
};

// End of the expression that begins after "${": the offset of its '}', which texts in quotes do not hide behind.
size_t closing_brace(std::string_view text, size_t begin) {
  bool quoted = false;
  for (size_t i = begin; i < text.size(); ++i) {
    if (text[i] == '\'') quoted = !quoted;
    if (text[i] == '}' && !quoted) return i;
  }
  return std::string_view::npos;
}

}  // namespace

ExpressionResult parse_expression(std::string_view text) {
  if (text.size() > kMaxExpressionBytes) {
    return {{}, {{"the expression is longer than " + std::to_string(kMaxExpressionBytes) + " bytes", "", 0, 1}}};
  }
  return Parser(text).run();
}

TemplateResult split_template(std::string_view text) {
  TemplateResult result;
  std::string plain;
  size_t plain_offset = 0;
  const auto flush = [&](size_t next) {
    if (!plain.empty()) result.parts.push_back({false, plain, plain_offset});
    plain.clear();
    plain_offset = next;
  };
  for (size_t i = 0; i < text.size();) {
    if (text.substr(i).starts_with("$${")) {
      plain += "${";
      i += 3;
    } else if (text.substr(i).starts_with("${")) {
      const size_t end = closing_brace(text, i + 2);
      if (end == std::string_view::npos) {
        result.errors.push_back({"'${' is never closed", "add '}', or write '$${' for the text '${'", i, 2});
        return result;
      }
      flush(end + 1);
      result.parts.push_back({true, std::string(text.substr(i + 2, end - i - 2)), i + 2});
      i = end + 1;
    } else {
      plain += text[i++];
    }
  }
  flush(text.size());
  return result;
}

}  // namespace gridquant::spec
