#include "coordinator/spec/bind.h"

#include <algorithm>

#include "coordinator/spec/scalars.h"

namespace gridquant::spec {
namespace {

using nlohmann::json;

constexpr std::string_view kStates[] = {"succeeded", "failed", "skipped", "cancelled"};

StaticType type_of_param(const Param& param) {
  if (param.known) return type_of_value(param.value);
  if (!param.sound) return StaticType::kAny;
  switch (param.field.shape) {
    case Shape::kInt:
    case Shape::kNumber:
      return StaticType::kNumber;
    case Shape::kBool:
      return StaticType::kBool;
    default:
      return StaticType::kText;
  }
}

class Binder {
 public:
  Binder(std::string_view text, const YNode& scalar, size_t offset, const Scope& scope, const Context& context)
      : text_(text), scalar_(scalar), offset_(offset), scope_(scope), context_(context) {}

  Bound run() {
    ExpressionResult parsed = parse_expression(text_);
    if (!parsed.errors.empty()) {
      const ExpressionError& error = parsed.errors[0];
      add(Code::kExpressionSyntax, error.offset, error.length, error.message, error.hint);
      return {};
    }
    expression_ = std::move(parsed.expression);
    bool ok = true;
    for (const ExpressionNode& node : expression_.nodes) {
      names_.push_back(node.operation == Operation::kName ? look_up(node) : NameInfo{.ok = true});
      ok = ok && names_.back().ok;
    }
    if (!ok) return {};
    const StaticType type = check_types();
    if (!ok_) return {};
    return finish(type);
  }

 private:
  Position at(size_t offset, size_t length) const {
    return position_inside(context_.source, scalar_, offset_ + offset, length);
  }
  void add(Code code, size_t offset, size_t length, std::string message, std::string hint = "") {
    context_.sink.add(code, at(offset, length), std::move(message), std::move(hint));
    ok_ = false;
  }
  void add(Code code, const ExpressionNode& node, std::string message, std::string hint = "") {
    add(code, node.offset, node.length, std::move(message), std::move(hint));
  }

  NameInfo look_up(const ExpressionNode& node) {
    const std::string& root = node.path[0];
    if (root == "params") return look_up_param(node);
    if (root == "matrix") return look_up_matrix(node);
    if (root == "stages") {
      if (scope_.stage_name) return scope_.stage_name(node.path, at(node.offset, node.length));
      add(Code::kNotAvailableHere, node, "results of stages are known only in 'if'",
          "stages pass their results on through 'needs'");
      return {};
    }
    std::string hint = context_.sink.suggest(root, {"params", "matrix", "stages"});
    if (hint.empty()) hint = node.path.size() == 1 ? "put text in single quotes" : "params, matrix or stages";
    add(Code::kUndefinedName, node, "unknown name '" + shorten(root) + "'", std::move(hint));
    return {};
  }

  bool has_two_parts(const ExpressionNode& node) {
    if (node.path.size() == 2) return true;
    add(Code::kUndefinedName, node, "'" + node.path[0] + "' takes one name after a dot: " + node.path[0] + ".name");
    return false;
  }

  NameInfo look_up_param(const ExpressionNode& node) {
    if (!has_two_parts(node)) return {};
    const auto found = scope_.params.find(node.path[1]);
    if (found == scope_.params.end()) {
      std::vector<std::string> names;
      for (const auto& [name, param] : scope_.params) names.push_back(name);
      std::string hint = context_.sink.suggest(node.path[1], names);
      if (hint.empty()) hint = "declare it under spec.params";
      add(Code::kUndefinedName, node, "no parameter is called '" + shorten(node.path[1]) + "'", std::move(hint));
      return {};
    }
    const Param& param = found->second;
    return {.ok = true,
            .known = param.known,
            .value = param.value,
            .type = type_of_param(param),
            .text = "params." + node.path[1]};
  }

  NameInfo look_up_matrix(const ExpressionNode& node) {
    if (!has_two_parts(node)) return {};
    const auto found = scope_.matrix.find(node.path[1]);
    if (found == scope_.matrix.end()) {
      std::vector<std::string> names;
      for (const auto& [name, value] : scope_.matrix) names.push_back(name);
      std::string hint = context_.sink.suggest(node.path[1], names);
      if (hint.empty() && names.empty()) hint = "this stage has no matrix";
      add(Code::kUndefinedName, node, "the matrix of this stage has no '" + shorten(node.path[1]) + "'",
          std::move(hint));
      return {};
    }
    return {.ok = true, .known = true, .value = found->second, .type = type_of_value(found->second), .text = ""};
  }

  // Types bottom-up; operands precede operators in `nodes`.
  StaticType check_types() {
    std::vector<StaticType> types;
    for (size_t i = 0; i < expression_.nodes.size(); ++i) {
      const ExpressionNode& node = expression_.nodes[i];
      switch (node.operation) {
        case Operation::kLiteral:
          types.push_back(type_of_value(node.value));
          break;
        case Operation::kName:
          types.push_back(names_[i].type);
          break;
        case Operation::kNot:
          need_boolean(node.left, types);
          types.push_back(StaticType::kBool);
          break;
        case Operation::kAnd:
        case Operation::kOr:
          need_boolean(node.left, types);
          need_boolean(node.right, types);
          types.push_back(StaticType::kBool);
          break;
        default:
          check_comparison(node, types);
          types.push_back(StaticType::kBool);
      }
    }
    return types.back();
  }

  void need_boolean(int index, const std::vector<StaticType>& types) {
    const StaticType type = types[index];
    if (type == StaticType::kBool || type == StaticType::kAny || type == StaticType::kNull) return;
    add(Code::kExpressionType, expression_.nodes[index], "true or false is wanted here, not " + describe_type(type),
        "compare it with something");
  }

  void check_comparison(const ExpressionNode& node, const std::vector<StaticType>& types) {
    const StaticType left = types[node.left];
    const StaticType right = types[node.right];
    if (left == StaticType::kAny || right == StaticType::kAny) return check_state(node);
    const bool equality = node.operation == Operation::kEqual || node.operation == Operation::kUnequal;
    const bool null = left == StaticType::kNull || right == StaticType::kNull;
    if (equality && (null || left == right)) return check_state(node);
    if (!equality && (null || (left == right && left != StaticType::kBool))) return;
    add(Code::kExpressionType, node, "compares " + describe_type(left) + " with " + describe_type(right),
        equality ? "values of different types are never equal" : "only two numbers or two texts have an order");
  }

  // stages.X.state == 'suceeded' is a mistake that no run would ever reveal.
  void check_state(const ExpressionNode& node) {
    const ExpressionNode* sides[] = {&expression_.nodes[node.left], &expression_.nodes[node.right]};
    if (sides[0]->operation == Operation::kLiteral) std::swap(sides[0], sides[1]);
    const bool state = sides[0]->operation == Operation::kName && sides[0]->path.size() == 3 &&
                       sides[0]->path[0] == "stages" && sides[0]->path[2] == "state";
    if (!state || sides[1]->operation != Operation::kLiteral || !sides[1]->value.is_string()) return;
    const std::string& wanted = sides[1]->value.get_ref<const std::string&>();
    if (std::find(std::begin(kStates), std::end(kStates), wanted) != std::end(kStates)) return;
    std::string hint = context_.sink.suggest(wanted, {std::begin(kStates), std::end(kStates)});
    add(Code::kBadChoice, *sides[1],
        "a stage's state is one of succeeded, failed, skipped, cancelled, not '" + shorten(wanted) + "'",
        std::move(hint));
  }

  Bound finish(StaticType type) {
    Bound bound{.ok = true, .known = false, .value = {}, .type = type, .text = "", .param = nullptr};
    size_t index = 0;
    const auto next_name = [&]() -> const NameInfo& {
      while (expression_.nodes[index].operation != Operation::kName) ++index;
      return names_[index++];
    };
    bound.text = replace_names(text_, expression_, [&](const ExpressionNode&) {
      const NameInfo& name = next_name();
      return name.known ? print_literal(name.value) : name.text;
    });
    const ExpressionNode& root = expression_.root();
    if (root.operation == Operation::kName && root.path[0] == "params") bound.param = &scope_.params.at(root.path[1]);
    bound.known = std::all_of(names_.begin(), names_.end(), [&](const NameInfo& name) {
      return name.known || expression_.nodes[&name - names_.data()].operation != Operation::kName;
    });
    if (!bound.known) return bound;
    const NameResolver resolve = [&](const std::vector<std::string>& path) -> StatusOr<json> {
      return path[0] == "params" ? scope_.params.at(path[1]).value : scope_.matrix.at(path[1]);
    };
    auto value = evaluate(expression_, resolve);
    if (!value.ok()) {
      add(Code::kExpressionType, 0, text_.size(), std::string(value.status().message()));
      return {};
    }
    bound.value = *std::move(value);
    return bound;
  }

  std::string_view text_;
  const YNode& scalar_;
  size_t offset_;
  const Scope& scope_;
  const Context& context_;
  Expression expression_;
  std::vector<NameInfo> names_;  // one per node; meaningful for names
  bool ok_ = true;
};

}  // namespace

Bound bind_expression(std::string_view text, const YNode& scalar, size_t offset, const Scope& scope,
                      const Context& context) {
  return Binder(text, scalar, offset, scope, context).run();
}

Bound bind_template(const YNode& scalar, const Scope& scope, const Context& context) {
  const TemplateResult split = split_template(scalar.text);
  if (!split.errors.empty()) {
    const ExpressionError& error = split.errors[0];
    context.sink.add(Code::kExpressionSyntax, position_inside(context.source, scalar, error.offset, error.length),
                     error.message, error.hint);
    return {};
  }
  if (split.parts.size() == 1 && split.parts[0].is_expression) {
    return bind_expression(split.parts[0].text, scalar, split.parts[0].offset, scope, context);
  }
  Bound whole{.ok = true, .known = true, .value = {}, .type = StaticType::kText, .text = "", .param = nullptr};
  std::string text;
  for (const TemplatePart& part : split.parts) {
    if (!part.is_expression) {
      text += part.text;
      continue;
    }
    const Bound bound = bind_expression(part.text, scalar, part.offset, scope, context);
    whole.ok = whole.ok && bound.ok;
    whole.known = whole.known && bound.known;
    if (bound.ok && bound.known) text += render_value(bound.value);
  }
  whole.value = std::move(text);
  return whole;
}

bool has_expression(const YNode& scalar) {
  return scalar.kind == YNode::Kind::kScalar && scalar.text.find("${") != std::string::npos;
}

StaticType type_of_value(const json& value) {
  if (value.is_null()) return StaticType::kNull;
  if (value.is_boolean()) return StaticType::kBool;
  if (value.is_number()) return StaticType::kNumber;
  return value.is_string() ? StaticType::kText : StaticType::kAny;
}

std::string describe_type(StaticType type) {
  switch (type) {
    case StaticType::kNull:
      return "nothing";
    case StaticType::kBool:
      return "true or false";
    case StaticType::kNumber:
      return "a number";
    case StaticType::kText:
      return "text";
    case StaticType::kAny:
      return "a value";
  }
  return "a value";
}

}  // namespace gridquant::spec
