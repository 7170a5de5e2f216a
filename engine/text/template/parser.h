// Tokens to a tree: Jinja's grammar without what needs other templates (extends, include, import, block).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/template/lexer.h"
#include "engine/text/template/syntax.h"

namespace gridquant::text::jinja {

// What both halves of the parser share: the place in the tokens, and how they complain.
class TokenReader {
 public:
  TokenReader(std::string_view source, std::vector<Token> tokens) : source_(source), tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[next_]; }
  const Token& after() const { return tokens_[std::min(next_ + 1, tokens_.size() - 1)]; }
  Token take() { return next_ + 1 < tokens_.size() ? std::move(tokens_[next_++]) : tokens_[next_]; }
  bool is_sign(std::string_view text) const { return is(current(), Token::Kind::kSign, text); }
  bool is_name(std::string_view text) const { return is(current(), Token::Kind::kName, text); }
  static bool is(const Token& t, Token::Kind kind, std::string_view text) { return t.kind == kind && t.text == text; }
  bool take_sign(std::string_view text);
  bool take_name(std::string_view text);
  Status expect_sign(std::string_view text);
  Status expect_name(std::string_view text);
  StatusOr<std::string> any_name();

  Status fail(size_t at, const std::string& why) const;
  Status unexpected(const std::string& wanted) const;
  // InvalidArgument once nesting is deeper than kMaxSyntaxDepth; sets node->depth.
  Status check_depth(Node& node) const;
  StatusOr<NodePtr> finish(NodePtr node) const;

 private:
  std::string_view source_;
  std::vector<Token> tokens_;
  size_t next_ = 0;
};

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenReader& in) : in_(in) {}

  StatusOr<NodePtr> expression(bool with_condition = true);
  // An expression, or a tuple of several; `stop` is a name that ends it ("in").
  StatusOr<NodePtr> tuple(bool with_condition, std::string_view stop = "");
  // What may stand left of `=` or before `in`.
  StatusOr<NodePtr> target(bool with_namespace, std::string_view stop = "");
  // The filters that follow, "| upper | trim", over kCaptured.
  StatusOr<NodePtr> filters_over_captured(bool first_without_pipe);
  // "(a, b=1)" into node.parts and node.names.
  Status arguments(Node& node);

 private:
  using Rule = StatusOr<NodePtr> (ExpressionParser::*)();
  // Operands with a word between them, from the left.
  StatusOr<NodePtr> joined(std::string_view word, Node::Kind kind, Rule operand);
  StatusOr<NodePtr> either();
  StatusOr<NodePtr> both();
  StatusOr<NodePtr> negation();
  StatusOr<NodePtr> comparison();
  StatusOr<NodePtr> binary(int level);
  StatusOr<NodePtr> unary(bool with_filter);
  StatusOr<NodePtr> primary(bool with_namespace);
  StatusOr<NodePtr> name_or_constant(bool with_namespace);
  StatusOr<NodePtr> parenthesized();
  StatusOr<NodePtr> list();
  StatusOr<NodePtr> dict();
  StatusOr<NodePtr> postfix(NodePtr node);
  StatusOr<NodePtr> filters_and_tests(NodePtr node);
  StatusOr<NodePtr> call(NodePtr node);
  StatusOr<NodePtr> attribute(NodePtr node);
  StatusOr<NodePtr> item(NodePtr node);
  StatusOr<NodePtr> filter(NodePtr node);
  StatusOr<NodePtr> test(NodePtr node);
  bool tuple_ends(std::string_view stop) const;
  NodePtr make(Node::Kind kind) const;

  TokenReader& in_;
  int level_ = 0;  // of nested calls
};

// `source` is normalized. InvalidArgument "LINE:COLUMN: why".
StatusOr<std::vector<NodePtr>> parse(std::string_view source);

}  // namespace gridquant::text::jinja
