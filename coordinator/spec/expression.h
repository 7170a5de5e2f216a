// The expressions of pipeline files: ${...}. Pure and total: no function, no loop, no side effect; every expression
// that is accepted has a value.
//
//   or     := and { "||" and }            and   := equal { "&&" equal }
//   equal  := order [ ("=="|"!=") order ]  order := unary [ ("<"|"<="|">"|">=") unary ]
//   unary  := "!" unary | literal | name | "(" or ")"
//   name   := params.X | matrix.X | stages.NAME.state | stages.NAME.summary.A.B...
//   literal: 'text' ('' is a quote), 42, -1, 0.5, true, false, null
//
// Evaluation:
// - `==` and `!=` compare values of any types; values of different types are unequal (4 and 4.0 are equal).
// - `<` and its kin compare two numbers, or two texts byte by byte; anything else gives false.
// - `&&`, `||` and `!` take booleans; null counts as false; both sides are looked at only as far as needed, left first.
// - A part of a summary that does not exist is null (a stage that failed or was skipped has no summary).
// - params and matrix are replaced when the file is read; stages.* is known only in `if:`, when all needs are over.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/status.h"

namespace gridquant::spec {

enum class Operation { kLiteral, kName, kNot, kAnd, kOr, kEqual, kUnequal, kLess, kLessEqual, kGreater, kGreaterEqual };

struct ExpressionNode {
  Operation operation = Operation::kLiteral;
  nlohmann::json value;           // kLiteral
  std::vector<std::string> path;  // kName: {"params", "bits"}
  int left = -1, right = -1;      // indices of operands; of kNot only left
  size_t offset = 0, length = 0;  // in the expression's text, without parentheses around it
};

struct ExpressionError {
  std::string message;
  std::string hint;
  size_t offset = 0, length = 1;
};

struct Expression {
  std::vector<ExpressionNode> nodes;  // operands before operators; the root is last
  const ExpressionNode& root() const { return nodes.back(); }
};

inline constexpr size_t kMaxExpressionBytes = 16 << 10;
inline constexpr int kMaxExpressionDepth = 64;

struct ExpressionResult {
  Expression expression;                // empty when there are errors
  std::vector<ExpressionError> errors;  // at most one
};
ExpressionResult parse_expression(std::string_view text);

// A text with ${...} inside, in order. "$${" stands for the text "${".
struct TemplatePart {
  bool is_expression = false;
  std::string text;   // the text, or what stands between ${ and }
  size_t offset = 0;  // of `text` in the whole
};
struct TemplateResult {
  std::vector<TemplatePart> parts;
  std::vector<ExpressionError> errors;
};
TemplateResult split_template(std::string_view text);

using NameResolver = std::function<StatusOr<nlohmann::json>(const std::vector<std::string>& path)>;
// InvalidArgument if && || ! meet something that is neither boolean nor null, or what the resolver returns.
StatusOr<nlohmann::json> evaluate(const Expression& expression, const NameResolver& resolve);

// The expression's text with every name replaced by what `print_name` says.
std::string replace_names(std::string_view text, const Expression& expression,
                          const std::function<std::string(const ExpressionNode&)>& print_name);
std::string print_literal(const nlohmann::json& value);

}  // namespace gridquant::spec
