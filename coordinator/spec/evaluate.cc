// Values of expressions, and expressions as text again. The rules stand in expression.h.
#include "coordinator/spec/expression.h"
#include "coordinator/spec/scalars.h"
#include "coordinator/spec/spec.h"

namespace gridquant::spec {
namespace {

using nlohmann::json;

class Evaluator {
 public:
  Evaluator(const Expression& expression, const NameResolver& resolve) : nodes_(expression.nodes), resolve_(resolve) {}

  StatusOr<json> value(int index) const {
    const ExpressionNode& node = nodes_[index];
    switch (node.operation) {
      case Operation::kLiteral:
        return node.value;
      case Operation::kName:
        return resolve_(node.path);
      case Operation::kNot: {
        GQ_ASSIGN_OR_RETURN(const bool operand, truth(node.left));
        return json(!operand);
      }
      case Operation::kAnd:
      case Operation::kOr: {
        GQ_ASSIGN_OR_RETURN(const bool left, truth(node.left));
        if (left == (node.operation == Operation::kOr)) return json(left);
        GQ_ASSIGN_OR_RETURN(const bool right, truth(node.right));
        return json(right);
      }
      default:
        return comparison(node);
    }
  }

  StatusOr<bool> truth(int index) const {
    GQ_ASSIGN_OR_RETURN(const json operand, value(index));
    if (operand.is_null()) return false;
    if (operand.is_boolean()) return operand.get<bool>();
    return absl::InvalidArgumentError("a boolean is wanted, not " + describe_value(operand));
  }

 private:
  StatusOr<json> comparison(const ExpressionNode& node) const {
    GQ_ASSIGN_OR_RETURN(const json left, value(node.left));
    GQ_ASSIGN_OR_RETURN(const json right, value(node.right));
    if (node.operation == Operation::kEqual) return json(left == right);
    if (node.operation == Operation::kUnequal) return json(left != right);
    const bool ordered = (left.is_number() && right.is_number()) || (left.is_string() && right.is_string());
    if (!ordered) return json(false);
    switch (node.operation) {
      case Operation::kLess:
        return json(left < right);
      case Operation::kLessEqual:
        return json(left <= right);
      case Operation::kGreater:
        return json(left > right);
      default:
        return json(left >= right);
    }
  }

  const std::vector<ExpressionNode>& nodes_;
  const NameResolver& resolve_;
};

// {"a": {"b": 1}} and a.b -> 1; null where the way ends.
json descend(const json& value, const std::vector<std::string>& path, size_t from) {
  const json* at = &value;
  for (size_t i = from; i < path.size(); ++i) {
    if (!at->is_object() || !at->contains(path[i])) return nullptr;
    at = &(*at)[path[i]];
  }
  return *at;
}

}  // namespace

StatusOr<json> evaluate(const Expression& expression, const NameResolver& resolve) {
  if (expression.nodes.empty()) return absl::InvalidArgumentError("the expression is empty");
  return Evaluator(expression, resolve).value(static_cast<int>(expression.nodes.size()) - 1);
}

std::string print_literal(const json& value) {
  if (!value.is_string()) return value.dump();
  std::string result = "'";
  for (const char c : value.get_ref<const std::string&>()) {
    result += c;
    if (c == '\'') result += c;
  }
  return result + "'";
}

std::string replace_names(std::string_view text, const Expression& expression,
                          const std::function<std::string(const ExpressionNode&)>& print_name) {
  std::string result;
  size_t copied = 0;
  // Names are leaves, and leaves stand in `nodes` in the order of the text.
  for (const ExpressionNode& node : expression.nodes) {
    if (node.operation != Operation::kName) continue;
    result += text.substr(copied, node.offset - copied);
    result += print_name(node);
    copied = node.offset + node.length;
  }
  return result + std::string(text.substr(copied));
}

StatusOr<bool> evaluate_condition(const std::string& expression, const json& params, const json& stages) {
  std::string_view text = expression;
  if (text.starts_with("${") && text.ends_with("}")) text = text.substr(2, text.size() - 3);
  const ExpressionResult parsed = parse_expression(text);
  if (!parsed.errors.empty()) {
    return absl::InvalidArgumentError("condition '" + expression + "': " + parsed.errors[0].message);
  }
  const NameResolver resolve = [&](const std::vector<std::string>& path) -> StatusOr<json> {
    if (path[0] == "params") return descend(params, path, 1);
    if (path[0] == "stages" && path.size() > 2 && stages.contains(path[1])) return descend(stages, path, 1);
    return absl::InvalidArgumentError("unknown name '" + path[0] + (path.size() > 1 ? "." + path[1] : "") + "'");
  };
  const auto value = evaluate(parsed.expression, resolve);
  if (!value.ok()) return annotate(value.status(), "condition '" + expression + "'");
  if (value->is_null()) return false;
  if (!value->is_boolean()) {
    return absl::InvalidArgumentError("condition '" + expression + "': the value is " + describe_value(*value) +
                                      ", not a boolean");
  }
  return value->get<bool>();
}

}  // namespace gridquant::spec
