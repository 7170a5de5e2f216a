// Statements, and what both halves of the parser share. Not here: expressions (expression_parser.cc).
#include "engine/text/template/parser.h"

#include <algorithm>
#include <initializer_list>

#include "engine/text/template/python_text.h"

namespace gridquant::text::jinja {
namespace {

constexpr int kMaxStatements = 50;  // levels of statements in statements

std::string describe(const Token& token) {
  switch (token.kind) {
    case Token::Kind::kEnd:
      return "the end of the template";
    case Token::Kind::kOutputEnd:
      return "the end of the output ('}}')";
    case Token::Kind::kBlockEnd:
      return "the end of the statement ('%}')";
    case Token::Kind::kText:
      return "a string";
    case Token::Kind::kInt:
    case Token::Kind::kFloat:
      return "a number";
    case Token::Kind::kName:
    case Token::Kind::kSign:
      return repr_of(Value::of(token.text));
    default:
      return "the begin of a tag";
  }
}

class StatementParser {
 public:
  explicit StatementParser(TokenReader in) : in_(std::move(in)) {}

  StatusOr<std::vector<NodePtr>> run() {
    std::vector<NodePtr> body;
    GQ_RETURN_IF_ERROR(statements({}, body));
    return body;
  }

 private:
  NodePtr make(Node::Kind kind) const {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->at = in_.current().at;
    return node;
  }

  // Up to a block whose first word is one of `ends`; stands at that word then.
  Status statements(std::initializer_list<std::string_view> ends, std::vector<NodePtr>& body) {
    if (++level_ > kMaxStatements) return in_.fail(in_.current().at, "statements are nested too deeply");
    while (true) {
      const Token& token = in_.current();
      if (token.kind == Token::Kind::kEnd) {
        if (ends.size() != 0) return in_.unexpected(std::string(*(ends.end() - 1)));
        break;
      }
      if (token.kind == Token::Kind::kData) {
        body.push_back(make(Node::Kind::kData));
        body.back()->text = in_.take().text;
        continue;
      }
      if (token.kind == Token::Kind::kOutputBegin) {
        in_.take();
        NodePtr node = make(Node::Kind::kOutput);
        GQ_ASSIGN_OR_RETURN(NodePtr value, expressions_.tuple(true));
        if (in_.current().kind != Token::Kind::kOutputEnd) return in_.unexpected("}}");
        in_.take();
        node->parts.push_back(std::move(value));
        GQ_ASSIGN_OR_RETURN(node, in_.finish(std::move(node)));
        body.push_back(std::move(node));
        continue;
      }
      in_.take();  // a block's begin
      if (std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return in_.is_name(end); })) break;
      GQ_ASSIGN_OR_RETURN(NodePtr node, statement());
      GQ_ASSIGN_OR_RETURN(node, in_.finish(std::move(node)));
      body.push_back(std::move(node));
    }
    --level_;
    return absl::OkStatus();
  }

  Status block_end() {
    if (in_.current().kind != Token::Kind::kBlockEnd) return in_.unexpected("%}");
    in_.take();
    return absl::OkStatus();
  }

  // The body after this block's end up to `end`, which is taken with its own block's end.
  Status body_until(std::string_view end, Node& node) {
    GQ_RETURN_IF_ERROR(block_end());
    node.bodies.emplace_back();
    GQ_RETURN_IF_ERROR(statements({end}, node.bodies.back()));
    in_.take();
    return block_end();
  }

  // A whole statement, its block's end included.
  StatusOr<NodePtr> statement() {
    const Token& token = in_.current();
    if (token.kind != Token::Kind::kName) return in_.unexpected("a statement");
    const std::string name = token.text;
    if (name == "if") return conditional();
    if (name == "for") return loop();
    if (name == "set") return assignment();
    if (name == "macro") return macro();
    if (name == "call") return call();
    if (name == "with") return with();
    if (name == "break" || name == "continue") {
      if (loops_ == 0) return in_.fail(token.at, name + " stands outside of a loop");
      NodePtr node = make(name == "break" ? Node::Kind::kBreak : Node::Kind::kContinue);
      in_.take();
      GQ_RETURN_IF_ERROR(block_end());
      return node;
    }
    if (name == "generation") {
      NodePtr node = make(Node::Kind::kScope);
      in_.take();
      GQ_RETURN_IF_ERROR(body_until("endgeneration", *node));
      return node;
    }
    if (name == "filter") {
      NodePtr node = make(Node::Kind::kFilterBlock);
      in_.take();
      GQ_ASSIGN_OR_RETURN(NodePtr filter, expressions_.filters_over_captured(true));
      node->parts.push_back(std::move(filter));
      GQ_RETURN_IF_ERROR(body_until("endfilter", *node));
      return node;
    }
    return in_.fail(token.at, "the statement " + repr_of(Value::of(name)) + " is not known here");
  }

  StatusOr<NodePtr> conditional() {
    NodePtr node = make(Node::Kind::kIf);
    in_.take();
    while (true) {
      GQ_ASSIGN_OR_RETURN(NodePtr condition, expressions_.tuple(false));
      node->parts.push_back(std::move(condition));
      GQ_RETURN_IF_ERROR(block_end());
      node->bodies.emplace_back();
      GQ_RETURN_IF_ERROR(statements({"elif", "else", "endif"}, node->bodies.back()));
      if (!in_.take_name("elif")) break;
    }
    node->bodies.emplace_back();
    if (in_.take_name("else")) {
      GQ_RETURN_IF_ERROR(block_end());
      GQ_RETURN_IF_ERROR(statements({"endif"}, node->bodies.back()));
    }
    GQ_RETURN_IF_ERROR(in_.expect_name("endif"));
    GQ_RETURN_IF_ERROR(block_end());
    return node;
  }

  StatusOr<NodePtr> loop() {
    NodePtr node = make(Node::Kind::kFor);
    in_.take();
    GQ_ASSIGN_OR_RETURN(NodePtr target, expressions_.target(false, "in"));
    GQ_RETURN_IF_ERROR(in_.expect_name("in"));
    GQ_ASSIGN_OR_RETURN(NodePtr items, expressions_.tuple(false, "recursive"));
    NodePtr filter;
    if (in_.take_name("if")) {
      GQ_ASSIGN_OR_RETURN(filter, expressions_.expression());
    }
    if (in_.is_name("recursive")) return in_.fail(in_.current().at, "recursive loops are not supported");
    node->parts.push_back(std::move(target));
    node->parts.push_back(std::move(items));
    node->parts.push_back(std::move(filter));
    GQ_RETURN_IF_ERROR(block_end());
    node->bodies.resize(2);
    ++loops_;
    GQ_RETURN_IF_ERROR(statements({"else", "endfor"}, node->bodies[0]));
    --loops_;
    if (in_.take_name("else")) {
      GQ_RETURN_IF_ERROR(block_end());
      GQ_RETURN_IF_ERROR(statements({"endfor"}, node->bodies[1]));
    }
    GQ_RETURN_IF_ERROR(in_.expect_name("endfor"));
    GQ_RETURN_IF_ERROR(block_end());
    return node;
  }

  StatusOr<NodePtr> assignment() {
    NodePtr node = make(Node::Kind::kSet);
    in_.take();
    GQ_ASSIGN_OR_RETURN(NodePtr target, expressions_.target(true));
    node->parts.push_back(std::move(target));
    if (in_.take_sign("=")) {
      GQ_ASSIGN_OR_RETURN(NodePtr value, expressions_.tuple(true));
      node->parts.push_back(std::move(value));
      GQ_RETURN_IF_ERROR(block_end());
      return node;
    }
    node->kind = Node::Kind::kSetBlock;
    GQ_ASSIGN_OR_RETURN(NodePtr filter, expressions_.filters_over_captured(false));
    node->parts.push_back(std::move(filter));
    GQ_RETURN_IF_ERROR(body_until("endset", *node));
    return node;
  }

  // "(a, b=1)" of a macro or of a call block.
  Status parameters(Node& node) {
    GQ_RETURN_IF_ERROR(in_.expect_sign("("));
    while (!in_.is_sign(")")) {
      if (!node.names.empty()) GQ_RETURN_IF_ERROR(in_.expect_sign(","));
      if (in_.is_sign(")")) break;
      const size_t at = in_.current().at;
      GQ_ASSIGN_OR_RETURN(std::string name, in_.any_name());
      NodePtr value;
      if (in_.take_sign("=")) {
        GQ_ASSIGN_OR_RETURN(value, expressions_.expression());
      } else if (!node.parts.empty() && node.parts.back() != nullptr) {
        return in_.fail(at, "a parameter without a default follows one with a default");
      }
      node.names.push_back(std::move(name));
      node.parts.push_back(std::move(value));
    }
    in_.take();
    return absl::OkStatus();
  }

  Status macro_body(std::string_view end, Node& node) {
    const int outside = std::exchange(loops_, 0);  // a macro's body is not in the loop around it
    GQ_RETURN_IF_ERROR(body_until(end, node));
    loops_ = outside;
    return absl::OkStatus();
  }

  StatusOr<NodePtr> macro() {
    NodePtr node = make(Node::Kind::kMacro);
    in_.take();
    GQ_ASSIGN_OR_RETURN(node->text, in_.any_name());
    GQ_RETURN_IF_ERROR(parameters(*node));
    GQ_RETURN_IF_ERROR(macro_body("endmacro", *node));
    return node;
  }

  StatusOr<NodePtr> call() {
    NodePtr node = make(Node::Kind::kCallBlock);
    in_.take();
    NodePtr body = make(Node::Kind::kMacro);
    body->text = "caller";
    if (in_.is_sign("(")) GQ_RETURN_IF_ERROR(parameters(*body));
    const size_t at = in_.current().at;
    GQ_ASSIGN_OR_RETURN(NodePtr called, expressions_.expression());
    if (called->kind != Node::Kind::kCall) return in_.fail(at, "a call of a macro is expected");
    GQ_RETURN_IF_ERROR(macro_body("endcall", *body));
    GQ_ASSIGN_OR_RETURN(body, in_.finish(std::move(body)));
    node->parts.push_back(std::move(called));
    node->parts.push_back(std::move(body));
    return node;
  }

  StatusOr<NodePtr> with() {
    NodePtr node = make(Node::Kind::kWith);
    in_.take();
    while (in_.current().kind != Token::Kind::kBlockEnd) {
      if (!node->parts.empty()) GQ_RETURN_IF_ERROR(in_.expect_sign(","));
      NodePtr target = make(Node::Kind::kName);
      GQ_ASSIGN_OR_RETURN(target->text, in_.any_name());
      GQ_RETURN_IF_ERROR(in_.expect_sign("="));
      GQ_ASSIGN_OR_RETURN(NodePtr value, expressions_.expression());
      node->parts.push_back(std::move(target));
      node->parts.push_back(std::move(value));
    }
    GQ_RETURN_IF_ERROR(body_until("endwith", *node));
    return node;
  }

  TokenReader in_;
  ExpressionParser expressions_{in_};
  int level_ = 0;
  int loops_ = 0;
};

}  // namespace

bool TokenReader::take_sign(std::string_view text) {
  const bool found = is_sign(text);
  if (found) take();
  return found;
}

bool TokenReader::take_name(std::string_view text) {
  const bool found = is_name(text);
  if (found) take();
  return found;
}

Status TokenReader::expect_sign(std::string_view text) {
  return take_sign(text) ? absl::OkStatus() : unexpected(repr_of(Value::of(std::string(text))));
}

Status TokenReader::expect_name(std::string_view text) {
  return take_name(text) ? absl::OkStatus() : unexpected(repr_of(Value::of(std::string(text))));
}

StatusOr<std::string> TokenReader::any_name() {
  if (current().kind != Token::Kind::kName) return unexpected("a name");
  return take().text;
}

Status TokenReader::fail(size_t at, const std::string& why) const {
  return absl::InvalidArgumentError(position_in(source_, at) + ": " + why);
}

Status TokenReader::unexpected(const std::string& wanted) const {
  return fail(current().at, wanted + " is expected, not " + describe(current()));
}

Status TokenReader::check_depth(Node& node) const {
  const auto add = [&](const NodePtr& part) {
    if (part != nullptr) node.depth = std::max(node.depth, 1 + part->depth);
  };
  for (const NodePtr& part : node.parts) add(part);
  for (const std::vector<NodePtr>& body : node.bodies) {
    for (const NodePtr& part : body) add(part);
  }
  if (node.depth <= kMaxSyntaxDepth) return absl::OkStatus();
  return fail(node.at, "the template is nested too deeply, or an expression has too many parts");
}

StatusOr<NodePtr> TokenReader::finish(NodePtr node) const {
  GQ_RETURN_IF_ERROR(check_depth(*node));
  return node;
}

StatusOr<std::vector<NodePtr>> parse(std::string_view source) {
  GQ_ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  return StatementParser(TokenReader(source, std::move(tokens))).run();
}

}  // namespace gridquant::text::jinja
