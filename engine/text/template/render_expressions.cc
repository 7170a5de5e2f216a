// Expressions and calls. Not here: what operators, filters, tests and methods do.
#include <algorithm>

#include "engine/text/template/filters.h"
#include "engine/text/template/methods.h"
#include "engine/text/template/operators.h"
#include "engine/text/template/python_text.h"
#include "engine/text/template/render_scope.h"
#include "engine/text/template/renderer.h"

namespace gridquant::text::jinja {
const Value* Renderer::lookup(const std::string& name) const {
  for (const Frame* frame = frame_.get(); frame != nullptr; frame = frame->parent.get()) {
    for (const auto& [key, value] : frame->names) {
      if (key == name) return &value;
    }
  }
  return nullptr;
}

// What a value costs: copying it is cheap, but whoever made it wrote that much.
Status Renderer::spend(const Node& node, const Value& value) {
  if (value.is_text()) return failed_at(node, budget_.spend_text(static_cast<int64_t>(value.text().size())));
  if (const Sequence* sequence = value.sequence()) {
    return failed_at(node, budget_.spend_items(static_cast<int64_t>(sequence->items.size())));
  }
  return failed_at(node, budget_.spend(1));
}

StatusOr<Value> Renderer::eval(const Node& node) {
  if (++level_ > kMaxLevel) return failed_at(node, absl::InvalidArgumentError("calls are nested too deeply"));
  StatusOr<Value> value = eval_kind(node);
  --level_;
  if (!value.ok()) return value;
  GQ_RETURN_IF_ERROR(spend(node, *value));
  return value;
}

StatusOr<Value> Renderer::eval_kind(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kConstant:
      return node.constant;
    case Node::Kind::kCaptured:
      return captured_;
    case Node::Kind::kName:
      return eval_name(node);
    case Node::Kind::kTuple:
      return eval_parts(node, Sequence::Flavor::kTuple);
    case Node::Kind::kList:
      return eval_parts(node, Sequence::Flavor::kList);
    case Node::Kind::kDict:
      return eval_dict(node);
    case Node::Kind::kSlice:
      return eval_slice(node);
    case Node::Kind::kCompare:
      return eval_compare(node);
    case Node::Kind::kConcat:
      return eval_concat(node);
    case Node::Kind::kCondition:
      return eval_condition(node);
    case Node::Kind::kCall:
      return eval_call(node);
    default:
      break;
  }
  // The others begin with the value of their first part.
  GQ_ASSIGN_OR_RETURN(const Value first, eval(*node.parts[0]));
  if (node.kind == Node::Kind::kAnd && !is_true(first)) return first;
  if (node.kind == Node::Kind::kOr && is_true(first)) return first;
  StatusOr<Value> result = Value();
  if (node.kind == Node::Kind::kAnd || node.kind == Node::Kind::kOr) return eval(*node.parts[1]);
  if (node.kind == Node::Kind::kNot) return Value::of(!is_true(first));
  if (node.kind == Node::Kind::kAttribute) {
    result = attribute_of(first, node.text);
  } else if (node.kind == Node::Kind::kFilter || node.kind == Node::Kind::kTest) {
    GQ_ASSIGN_OR_RETURN(const Arguments arguments, eval_arguments(node, 1));
    if (node.kind == Node::Kind::kFilter) {
      result = apply_filter(node.text, first, arguments, budget_);
    } else {
      const StatusOr<bool> holds = apply_test(node.text, first, arguments);
      result = holds.ok() ? StatusOr<Value>(Value::of(*holds)) : holds.status();
    }
  } else if (node.kind == Node::Kind::kNegative) {
    result = negative(first);
  } else if (node.kind == Node::Kind::kPositive) {
    result = binary("+", Value::of(int64_t{0}), first, budget_);
  } else {
    GQ_ASSIGN_OR_RETURN(const Value second, eval(*node.parts[1]));
    result = node.kind == Node::Kind::kItem ? item_of(first, second) : binary(node.text, first, second, budget_);
  }
  return result.ok() ? result : StatusOr<Value>(failed_at(node, result.status()));
}

StatusOr<Value> Renderer::eval_name(const Node& node) {
  const Value* found = lookup(node.text);
  if (found != nullptr) return *found;
  if (is_global(node.text)) return Value(Value::Held(Function{node.text}));
  return Value::undefined("'" + node.text + "' is undefined");
}

StatusOr<Value> Renderer::eval_parts(const Node& node, Sequence::Flavor flavor) {
  std::vector<Value> items;
  for (const NodePtr& part : node.parts) {
    GQ_ASSIGN_OR_RETURN(Value item, eval(*part));
    items.push_back(std::move(item));
  }
  StatusOr<Value> made = make_sequence(flavor, std::move(items));
  return made.ok() ? made : StatusOr<Value>(failed_at(node, made.status()));
}

StatusOr<Value> Renderer::eval_dict(const Node& node) {
  std::vector<std::pair<Value, Value>> items;
  for (size_t i = 0; i < node.parts.size(); i += 2) {
    GQ_ASSIGN_OR_RETURN(Value key, eval(*node.parts[i]));
    GQ_ASSIGN_OR_RETURN(Value value, eval(*node.parts[i + 1]));
    items.emplace_back(std::move(key), std::move(value));
  }
  StatusOr<Value> made = make_dict(std::move(items));
  return made.ok() ? made : StatusOr<Value>(failed_at(node, made.status()));
}

StatusOr<Value> Renderer::eval_slice(const Node& node) {
  GQ_ASSIGN_OR_RETURN(const Value value, eval(*node.parts[0]));
  Value bounds[3] = {Value::none(), Value::none(), Value::none()};
  for (size_t i = 0; i < 3; ++i) {
    if (node.parts[i + 1] == nullptr) continue;
    GQ_ASSIGN_OR_RETURN(bounds[i], eval(*node.parts[i + 1]));
  }
  StatusOr<Value> slice = slice_of(value, bounds[0], bounds[1], bounds[2]);
  return slice.ok() ? slice : StatusOr<Value>(failed_at(node, slice.status()));
}

StatusOr<Value> Renderer::eval_compare(const Node& node) {
  GQ_ASSIGN_OR_RETURN(Value left, eval(*node.parts[0]));
  for (size_t i = 0; i < node.names.size(); ++i) {
    GQ_ASSIGN_OR_RETURN(Value right, eval(*node.parts[i + 1]));
    const StatusOr<bool> holds = compare_by(node.names[i], left, right);
    if (!holds.ok()) return failed_at(node, holds.status());
    if (!*holds) return Value::of(false);
    left = std::move(right);
  }
  return Value::of(true);
}

StatusOr<Value> Renderer::eval_concat(const Node& node) {
  std::string text;
  for (const NodePtr& part : node.parts) {
    GQ_ASSIGN_OR_RETURN(const Value value, eval(*part));
    text += str_of(value);
    GQ_RETURN_IF_ERROR(failed_at(node, budget_.spend_text(static_cast<int64_t>(text.size()))));
  }
  return Value::of(std::move(text));
}

StatusOr<Value> Renderer::eval_condition(const Node& node) {
  GQ_ASSIGN_OR_RETURN(const Value condition, eval(*node.parts[0]));
  if (is_true(condition)) return eval(*node.parts[1]);
  if (node.parts[2] != nullptr) return eval(*node.parts[2]);
  return Value::undefined("the inline if-expression evaluated to false and no else section was defined");
}

// Positional first, then as many named ones as there are names.
StatusOr<Arguments> Renderer::eval_arguments(const Node& node, size_t first) {
  Arguments arguments;
  const size_t named = node.parts.size() - node.names.size();
  for (size_t i = first; i < node.parts.size(); ++i) {
    GQ_ASSIGN_OR_RETURN(Value value, eval(*node.parts[i]));
    if (i < named) {
      arguments.positional.push_back(std::move(value));
    } else {
      arguments.named.emplace_back(node.names[i - named], std::move(value));
    }
  }
  return arguments;
}

StatusOr<Value> Renderer::eval_call(const Node& node) {
  GQ_ASSIGN_OR_RETURN(const Value callee, eval(*node.parts[0]));
  GQ_ASSIGN_OR_RETURN(const Arguments arguments, eval_arguments(node, 1));
  return call(node, callee, arguments);
}

StatusOr<Value> Renderer::call(const Node& node, const Value& callee, const Arguments& arguments) {
  if (const auto* macro = callee.get<std::shared_ptr<const Macro>>()) return call_macro(node, **macro, arguments);
  StatusOr<Value> result = Value();
  if (const Function* function = callee.get<Function>()) {
    result = function->name == "namespace" ? make_namespace(arguments)
                                           : call_global(function->name, arguments, now_, budget_);
  } else if (const Method* method = callee.get<Method>()) {
    result = call_method(*method->self, method->name, arguments, budget_);
  } else {
    const Status undefined = defined(callee);
    result = undefined.ok() ? absl::InvalidArgumentError("a " + type_of(callee) + " cannot be called") : undefined;
  }
  return result.ok() ? result : StatusOr<Value>(failed_at(node, result.status()));
}

StatusOr<Value> Renderer::make_namespace(const Arguments& arguments) {
  GQ_ASSIGN_OR_RETURN(const Value made, call_global("dict", arguments, now_, budget_));
  auto names = std::make_shared<Namespace>();
  for (const auto& [key, value] : made.dict()->items) {
    if (!key.is_text() || key.text().starts_with("_")) {
      return absl::InvalidArgumentError("a namespace cannot have the attribute " + repr_of(key));
    }
    names->attributes.emplace_back(key.text(), value);
  }
  namespaces_.push_back(names);
  return Value(Value::Held(std::move(names)));
}

// In the macro's own frame: parameters, defaults (which see the parameters before them), varargs, kwargs, caller.
Status Renderer::bind_parameters(const Node& macro, const Arguments& arguments) {
  std::vector<bool> used(arguments.named.size(), false);
  for (size_t i = 0; i < macro.names.size(); ++i) {
    Value value = Value::undefined("parameter '" + macro.names[i] + "' was not provided");
    const auto named = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& given) { return given.first == macro.names[i]; });
    if (named != arguments.named.end()) used[static_cast<size_t>(named - arguments.named.begin())] = true;
    if (i < arguments.positional.size()) {
      if (named != arguments.named.end()) {
        return absl::InvalidArgumentError("the macro '" + macro.text + "' is given '" + macro.names[i] + "' twice");
      }
      value = arguments.positional[i];
    } else if (named != arguments.named.end()) {
      value = named->second;
    } else if (macro.parts[i] != nullptr) {
      GQ_ASSIGN_OR_RETURN(value, eval(*macro.parts[i]));
    }
    frame_->names.emplace_back(macro.names[i], value);
  }
  for (size_t i = 0; i < used.size(); ++i) {
    if (used[i]) continue;
    return absl::InvalidArgumentError("the macro '" + macro.text + "' has no parameter '" + arguments.named[i].first +
                                      "'");
  }
  if (arguments.positional.size() <= macro.names.size()) return absl::OkStatus();
  return absl::InvalidArgumentError("the macro '" + macro.text + "' takes at most " +
                                    std::to_string(macro.names.size()) + " arguments");
}

StatusOr<Value> Renderer::call_macro(const Node& node, const Macro& macro, const Arguments& arguments) {
  const std::shared_ptr<Frame> defined_in = macro.frame.lock();
  if (defined_in == nullptr) {
    return failed_at(node, absl::InvalidArgumentError("the macro '" + macro.name + "' is called outside of its scope"));
  }
  const Value* caller = std::exchange(caller_, nullptr);
  const Scope scope(*this, defined_in);
  if (caller != nullptr) frame_->names.emplace_back("caller", *caller);
  const Status bound = bind_parameters(*macro.node, arguments);
  if (!bound.ok()) return failed_at(node, bound);
  GQ_ASSIGN_OR_RETURN(std::string text, capture(macro.node->bodies[0]));
  return Value::of(std::move(text));
}

}  // namespace gridquant::text::jinja
