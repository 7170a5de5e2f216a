// Expressions, by Jinja's precedence: if-else, or, and, not, comparison, + -, ~, * / // %, **, sign, postfix, filters.
// Not here: statements (parser.cc).
#include <array>

#include "engine/text/template/parser.h"

namespace gridquant::text::jinja {
namespace {

constexpr int kMaxNesting = 100;  // of calls that call themselves; brackets take two each

class Deeper {
 public:
  explicit Deeper(int& level) : level_(level) { ++level_; }
  ~Deeper() { --level_; }

 private:
  int& level_;
};

// "/" is here before "//" was tried: tokens are whole signs.
constexpr std::array<std::array<std::string_view, 4>, 4> kBinary = {{{"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}}};

}  // namespace

NodePtr ExpressionParser::make(Node::Kind kind) const {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  node->at = in_.current().at;
  return node;
}

StatusOr<NodePtr> ExpressionParser::expression(bool with_condition) {
  const Deeper deeper(level_);
  if (level_ > kMaxNesting) return in_.fail(in_.current().at, "expressions are nested too deeply");
  if (!with_condition) return either();
  GQ_ASSIGN_OR_RETURN(NodePtr value, either());
  while (in_.is_name("if")) {
    NodePtr node = make(Node::Kind::kCondition);
    in_.take();
    GQ_ASSIGN_OR_RETURN(NodePtr condition, either());
    NodePtr otherwise;
    if (in_.take_name("else")) {
      GQ_ASSIGN_OR_RETURN(otherwise, expression());
    }
    node->parts.push_back(std::move(condition));
    node->parts.push_back(std::move(value));
    node->parts.push_back(std::move(otherwise));
    GQ_ASSIGN_OR_RETURN(value, in_.finish(std::move(node)));
  }
  return value;
}

StatusOr<NodePtr> ExpressionParser::joined(std::string_view word, Node::Kind kind, Rule operand) {
  GQ_ASSIGN_OR_RETURN(NodePtr left, (this->*operand)());
  while (in_.is_name(word)) {
    NodePtr node = make(kind);
    in_.take();
    GQ_ASSIGN_OR_RETURN(NodePtr right, (this->*operand)());
    node->parts.push_back(std::move(left));
    node->parts.push_back(std::move(right));
    GQ_ASSIGN_OR_RETURN(left, in_.finish(std::move(node)));
  }
  return left;
}

StatusOr<NodePtr> ExpressionParser::either() {
  return joined("or", Node::Kind::kOr, &ExpressionParser::both);
}

StatusOr<NodePtr> ExpressionParser::both() {
  return joined("and", Node::Kind::kAnd, &ExpressionParser::negation);
}

StatusOr<NodePtr> ExpressionParser::negation() {
  std::vector<NodePtr> nots;
  while (in_.is_name("not")) {
    nots.push_back(make(Node::Kind::kNot));
    in_.take();
  }
  GQ_ASSIGN_OR_RETURN(NodePtr node, comparison());
  for (; !nots.empty(); nots.pop_back()) {
    nots.back()->parts.push_back(std::move(node));
    GQ_ASSIGN_OR_RETURN(node, in_.finish(std::move(nots.back())));
  }
  return node;
}

StatusOr<NodePtr> ExpressionParser::comparison() {
  static constexpr std::string_view kOperators[] = {"==", "!=", "<", "<=", ">", ">="};
  GQ_ASSIGN_OR_RETURN(NodePtr first, binary(0));
  NodePtr node = make(Node::Kind::kCompare);
  node->parts.push_back(std::move(first));
  while (true) {
    std::string found;
    for (const std::string_view op : kOperators) {
      if (in_.is_sign(op)) found = op;
    }
    if (in_.is_name("in")) found = "in";
    if (in_.is_name("not") && TokenReader::is(in_.after(), Token::Kind::kName, "in")) {
      in_.take();
      found = "not in";
    }
    if (found.empty()) break;
    in_.take();
    GQ_ASSIGN_OR_RETURN(NodePtr next, binary(0));
    node->names.push_back(std::move(found));
    node->parts.push_back(std::move(next));
  }
  if (node->names.empty()) return std::move(node->parts[0]);
  return in_.finish(std::move(node));
}

StatusOr<NodePtr> ExpressionParser::binary(int level) {
  if (level == static_cast<int>(kBinary.size())) return unary(true);
  GQ_ASSIGN_OR_RETURN(NodePtr left, binary(level + 1));
  while (true) {
    std::string found;
    for (const std::string_view op : kBinary[static_cast<size_t>(level)]) {
      if (!op.empty() && in_.is_sign(op)) found = op;
    }
    if (found.empty()) return left;
    const bool joins = found == "~" && left->kind == Node::Kind::kConcat;
    NodePtr node = make(found == "~" ? Node::Kind::kConcat : Node::Kind::kBinary);
    node->text = found;
    in_.take();
    GQ_ASSIGN_OR_RETURN(NodePtr right, binary(level + 1));
    if (joins) {
      left->parts.push_back(std::move(right));
      GQ_RETURN_IF_ERROR(in_.check_depth(*left));
      continue;
    }
    node->parts.push_back(std::move(left));
    node->parts.push_back(std::move(right));
    GQ_ASSIGN_OR_RETURN(left, in_.finish(std::move(node)));
  }
}

StatusOr<NodePtr> ExpressionParser::unary(bool with_filter) {
  const Deeper deeper(level_);
  if (level_ > kMaxNesting) return in_.fail(in_.current().at, "expressions are nested too deeply");
  NodePtr node;
  if (in_.is_sign("-") || in_.is_sign("+")) {
    node = make(in_.is_sign("-") ? Node::Kind::kNegative : Node::Kind::kPositive);
    in_.take();
    GQ_ASSIGN_OR_RETURN(NodePtr inner, unary(false));
    node->parts.push_back(std::move(inner));
    GQ_ASSIGN_OR_RETURN(node, in_.finish(std::move(node)));
  } else {
    GQ_ASSIGN_OR_RETURN(node, primary(false));
  }
  GQ_ASSIGN_OR_RETURN(node, postfix(std::move(node)));
  return with_filter ? filters_and_tests(std::move(node)) : std::move(node);
}

StatusOr<NodePtr> ExpressionParser::primary(bool with_namespace) {
  const Token& token = in_.current();
  if (token.kind == Token::Kind::kName) return name_or_constant(with_namespace);
  NodePtr node = make(Node::Kind::kConstant);
  if (token.kind == Token::Kind::kText) {
    std::string text;
    while (in_.current().kind == Token::Kind::kText) text += in_.take().text;
    node->constant = Value::of(std::move(text));
    return node;
  }
  if (token.kind == Token::Kind::kInt || token.kind == Token::Kind::kFloat) {
    node->constant = token.kind == Token::Kind::kInt ? Value::of(token.whole) : Value::of(token.number);
    in_.take();
    return node;
  }
  if (in_.is_sign("(")) return parenthesized();
  if (in_.is_sign("[")) return list();
  if (in_.is_sign("{")) return dict();
  return in_.unexpected("an expression");
}

StatusOr<NodePtr> ExpressionParser::name_or_constant(bool with_namespace) {
  NodePtr node = make(Node::Kind::kName);
  node->text = in_.take().text;
  const std::string& name = node->text;
  const bool constant =
      name == "true" || name == "True" || name == "false" || name == "False" || name == "none" || name == "None";
  if (constant) {
    node->kind = Node::Kind::kConstant;
    node->constant = (name[0] | 0x20) == 'n' ? Value::none() : Value::of((name[0] | 0x20) == 't');
  } else if (with_namespace && in_.take_sign(".")) {
    node->kind = Node::Kind::kNamespaceName;
    GQ_ASSIGN_OR_RETURN(std::string attribute, in_.any_name());
    node->names.push_back(std::move(attribute));
  }
  return node;
}

StatusOr<NodePtr> ExpressionParser::parenthesized() {
  NodePtr empty = make(Node::Kind::kTuple);
  in_.take();
  if (in_.take_sign(")")) return empty;
  GQ_ASSIGN_OR_RETURN(NodePtr node, tuple(true));
  GQ_RETURN_IF_ERROR(in_.expect_sign(")"));
  return node;
}

StatusOr<NodePtr> ExpressionParser::list() {
  NodePtr node = make(Node::Kind::kList);
  in_.take();
  while (!in_.is_sign("]")) {
    if (!node->parts.empty()) GQ_RETURN_IF_ERROR(in_.expect_sign(","));
    if (in_.is_sign("]")) break;
    GQ_ASSIGN_OR_RETURN(NodePtr item, expression());
    node->parts.push_back(std::move(item));
  }
  in_.take();
  return in_.finish(std::move(node));
}

StatusOr<NodePtr> ExpressionParser::dict() {
  NodePtr node = make(Node::Kind::kDict);
  in_.take();
  while (!in_.is_sign("}")) {
    if (!node->parts.empty()) GQ_RETURN_IF_ERROR(in_.expect_sign(","));
    if (in_.is_sign("}")) break;
    GQ_ASSIGN_OR_RETURN(NodePtr key, expression());
    GQ_RETURN_IF_ERROR(in_.expect_sign(":"));
    GQ_ASSIGN_OR_RETURN(NodePtr value, expression());
    node->parts.push_back(std::move(key));
    node->parts.push_back(std::move(value));
  }
  in_.take();
  return in_.finish(std::move(node));
}

bool ExpressionParser::tuple_ends(std::string_view stop) const {
  const Token::Kind kind = in_.current().kind;
  return kind == Token::Kind::kOutputEnd || kind == Token::Kind::kBlockEnd || in_.is_sign(")") ||
         (!stop.empty() && in_.is_name(stop));
}

StatusOr<NodePtr> ExpressionParser::tuple(bool with_condition, std::string_view stop) {
  NodePtr node = make(Node::Kind::kTuple);
  bool is_tuple = false;
  while (!tuple_ends(stop)) {
    GQ_ASSIGN_OR_RETURN(NodePtr part, expression(with_condition));
    node->parts.push_back(std::move(part));
    if (!in_.take_sign(",")) break;
    is_tuple = true;
  }
  if (node->parts.empty()) return in_.unexpected("an expression");
  if (!is_tuple) return std::move(node->parts[0]);
  return in_.finish(std::move(node));
}

StatusOr<NodePtr> ExpressionParser::target(bool with_namespace, std::string_view stop) {
  NodePtr node = make(Node::Kind::kTuple);
  bool is_tuple = false;
  while (!tuple_ends(stop)) {
    if (in_.is_sign("(")) {
      const Deeper deeper(level_);
      if (level_ > kMaxNesting) return in_.fail(in_.current().at, "the names to set are nested too deeply");
      in_.take();
      GQ_ASSIGN_OR_RETURN(NodePtr inner, target(with_namespace));
      GQ_RETURN_IF_ERROR(in_.expect_sign(")"));
      node->parts.push_back(std::move(inner));
    } else {
      const size_t at = in_.current().at;
      GQ_ASSIGN_OR_RETURN(NodePtr part, primary(with_namespace));
      if (part->kind == Node::Kind::kConstant || part->kind == Node::Kind::kList || part->kind == Node::Kind::kDict) {
        return in_.fail(at, "only names can be set");
      }
      node->parts.push_back(std::move(part));
    }
    if (!in_.take_sign(",")) break;
    is_tuple = true;
  }
  if (node->parts.empty()) return in_.unexpected("a name to set");
  if (!is_tuple) return std::move(node->parts[0]);
  return in_.finish(std::move(node));
}

StatusOr<NodePtr> ExpressionParser::postfix(NodePtr node) {
  while (true) {
    if (in_.is_sign(".")) {
      GQ_ASSIGN_OR_RETURN(node, attribute(std::move(node)));
    } else if (in_.is_sign("[")) {
      GQ_ASSIGN_OR_RETURN(node, item(std::move(node)));
    } else if (in_.is_sign("(")) {
      GQ_ASSIGN_OR_RETURN(node, call(std::move(node)));
    } else {
      return node;
    }
  }
}

StatusOr<NodePtr> ExpressionParser::filters_and_tests(NodePtr node) {
  while (true) {
    if (in_.is_sign("|")) {
      in_.take();
      GQ_ASSIGN_OR_RETURN(node, filter(std::move(node)));
    } else if (in_.is_name("is")) {
      GQ_ASSIGN_OR_RETURN(node, test(std::move(node)));
    } else if (in_.is_sign("(")) {
      GQ_ASSIGN_OR_RETURN(node, call(std::move(node)));
    } else {
      return node;
    }
  }
}

StatusOr<NodePtr> ExpressionParser::call(NodePtr node) {
  NodePtr made = make(Node::Kind::kCall);
  made->parts.push_back(std::move(node));
  GQ_RETURN_IF_ERROR(arguments(*made));
  return in_.finish(std::move(made));
}

StatusOr<NodePtr> ExpressionParser::attribute(NodePtr node) {
  NodePtr made = make(Node::Kind::kAttribute);
  in_.take();
  made->parts.push_back(std::move(node));
  if (in_.current().kind == Token::Kind::kInt) {
    made->kind = Node::Kind::kItem;
    NodePtr index = make(Node::Kind::kConstant);
    index->constant = Value::of(in_.take().whole);
    made->parts.push_back(std::move(index));
  } else {
    GQ_ASSIGN_OR_RETURN(made->text, in_.any_name());
  }
  return in_.finish(std::move(made));
}

StatusOr<NodePtr> ExpressionParser::item(NodePtr node) {
  NodePtr made = make(Node::Kind::kItem);
  in_.take();
  std::vector<NodePtr> bounds;
  size_t colons = 0;
  bounds.emplace_back();
  while (!in_.is_sign("]")) {
    if (in_.take_sign(":")) {
      if (++colons > 2) return in_.unexpected("]");
      bounds.emplace_back();
      continue;
    }
    if (bounds.back() != nullptr) return in_.unexpected("]");
    GQ_ASSIGN_OR_RETURN(bounds.back(), colons == 0 ? tuple(true) : expression());
  }
  if (colons == 0 && bounds[0] == nullptr) return in_.unexpected("an expression");
  in_.take();
  made->parts.push_back(std::move(node));
  if (colons > 0) {
    made->kind = Node::Kind::kSlice;
    bounds.resize(3);
  }
  for (NodePtr& bound : bounds) made->parts.push_back(std::move(bound));
  return in_.finish(std::move(made));
}

Status ExpressionParser::arguments(Node& node) {
  GQ_RETURN_IF_ERROR(in_.expect_sign("("));
  bool first = true;
  while (!in_.is_sign(")")) {
    if (!first) GQ_RETURN_IF_ERROR(in_.expect_sign(","));
    if (in_.is_sign(")")) break;
    first = false;
    if (in_.is_sign("*") || in_.is_sign("**")) {
      return in_.fail(in_.current().at, "arguments out of a list or mapping (* and **) are not supported");
    }
    const bool named =
        in_.current().kind == Token::Kind::kName && TokenReader::is(in_.after(), Token::Kind::kSign, "=");
    if (named) {
      node.names.push_back(in_.take().text);
      in_.take();
    } else if (!node.names.empty()) {
      return in_.fail(in_.current().at, "an argument without a name follows one with a name");
    }
    GQ_ASSIGN_OR_RETURN(NodePtr value, expression());
    node.parts.push_back(std::move(value));
  }
  in_.take();
  return absl::OkStatus();
}

StatusOr<NodePtr> ExpressionParser::filter(NodePtr node) {
  NodePtr made = make(Node::Kind::kFilter);
  GQ_ASSIGN_OR_RETURN(made->text, in_.any_name());
  made->parts.push_back(std::move(node));
  if (in_.is_sign("(")) GQ_RETURN_IF_ERROR(arguments(*made));
  return in_.finish(std::move(made));
}

StatusOr<NodePtr> ExpressionParser::filters_over_captured(bool first_without_pipe) {
  NodePtr node = make(Node::Kind::kCaptured);
  if (first_without_pipe) {
    GQ_ASSIGN_OR_RETURN(node, filter(std::move(node)));
  }
  while (in_.take_sign("|")) {
    GQ_ASSIGN_OR_RETURN(node, filter(std::move(node)));
  }
  return node;
}

StatusOr<NodePtr> ExpressionParser::test(NodePtr node) {
  NodePtr negated = make(Node::Kind::kNot);
  in_.take();
  const bool negative = in_.take_name("not");
  NodePtr made = make(Node::Kind::kTest);
  GQ_ASSIGN_OR_RETURN(made->text, in_.any_name());
  made->parts.push_back(std::move(node));
  const Token& next = in_.current();
  const bool starts_value = next.kind == Token::Kind::kName || next.kind == Token::Kind::kText ||
                            next.kind == Token::Kind::kInt || next.kind == Token::Kind::kFloat || in_.is_sign("[") ||
                            in_.is_sign("{");
  if (in_.is_sign("(")) {
    GQ_RETURN_IF_ERROR(arguments(*made));
  } else if (starts_value && !in_.is_name("else") && !in_.is_name("or") && !in_.is_name("and")) {
    if (in_.is_name("is")) return in_.fail(next.at, "two tests cannot follow each other");
    GQ_ASSIGN_OR_RETURN(NodePtr argument, primary(false));
    GQ_ASSIGN_OR_RETURN(argument, postfix(std::move(argument)));
    made->parts.push_back(std::move(argument));
  }
  GQ_ASSIGN_OR_RETURN(made, in_.finish(std::move(made)));
  if (!negative) return made;
  negated->parts.push_back(std::move(made));
  return in_.finish(std::move(negated));
}

}  // namespace gridquant::text::jinja
