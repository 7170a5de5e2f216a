// Statements. Not here: expressions and calls (render_expressions.cc).
#include <algorithm>

#include "engine/text/template/filters.h"
#include "engine/text/template/lexer.h"
#include "engine/text/template/operators.h"
#include "engine/text/template/python_text.h"
#include "engine/text/template/render_scope.h"
#include "engine/text/template/renderer.h"

namespace gridquant::text::jinja {
namespace {

void set_in(Frame& frame, const std::string& name, const Value& value) {
  for (auto& [key, held] : frame.names) {
    if (key != name) continue;
    held = value;
    return;
  }
  frame.names.emplace_back(name, value);
}

}  // namespace

Renderer::Renderer(std::string_view source, const Date& now, Budget budget)
    : source_(source), now_(now), budget_(budget), frame_(std::make_shared<Frame>()) {}

Renderer::~Renderer() {
  frame_.reset();
  for (const std::shared_ptr<Namespace>& names : namespaces_) names->attributes.clear();
}

StatusOr<std::string> Renderer::run(const Body& nodes, std::vector<std::pair<std::string, Value>> variables) {
  frame_->names = std::move(variables);
  GQ_RETURN_IF_ERROR(run_body(nodes).status());
  return std::move(out_);
}

Status Renderer::failed_at(const Node& node, const Status& status) const {
  if (status.ok()) return status;
  return annotate(status, position_in(source_, node.at));
}

StatusOr<Renderer::Flow> Renderer::run_body(const Body& body) {
  for (const NodePtr& node : body) {
    if (++level_ > kMaxLevel) return failed_at(*node, absl::InvalidArgumentError("calls are nested too deeply"));
    const StatusOr<Flow> flow = run_node(*node);
    --level_;
    if (!flow.ok() || *flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

StatusOr<Renderer::Flow> Renderer::run_node(const Node& node) {
  GQ_RETURN_IF_ERROR(failed_at(node, budget_.spend(1)));
  switch (node.kind) {
    case Node::Kind::kIf:
      return run_if(node);
    case Node::Kind::kFor:
      return run_for(node);
    case Node::Kind::kBreak:
      return Flow::kBreak;
    case Node::Kind::kContinue:
      return Flow::kContinue;
    case Node::Kind::kScope:
      return run_body(node.bodies[0]);
    case Node::Kind::kData:
      GQ_RETURN_IF_ERROR(write_text(node, node.text));
      break;
    case Node::Kind::kOutput: {
      GQ_ASSIGN_OR_RETURN(const Value value, eval(*node.parts[0]));
      GQ_RETURN_IF_ERROR(write(node, value));
      break;
    }
    case Node::Kind::kSet:
    case Node::Kind::kSetBlock:
      GQ_RETURN_IF_ERROR(run_set(node));
      break;
    case Node::Kind::kMacro:
      set_in(*frame_, node.text, macro_of(node));
      break;
    case Node::Kind::kCallBlock:
      GQ_RETURN_IF_ERROR(run_call_block(node));
      break;
    case Node::Kind::kFilterBlock: {
      GQ_ASSIGN_OR_RETURN(const Value value, captured_and_filtered(node, *node.parts[0]));
      GQ_RETURN_IF_ERROR(write(node, value));
      break;
    }
    case Node::Kind::kWith:
      GQ_RETURN_IF_ERROR(run_with(node));
      break;
    default:
      return failed_at(node, absl::InternalError("an expression stands in the place of a statement"));
  }
  return Flow::kNext;
}

Status Renderer::write_text(const Node& node, std::string_view text) {
  GQ_RETURN_IF_ERROR(failed_at(node, budget_.spend_text(static_cast<int64_t>(text.size()))));
  out_ += text;
  return absl::OkStatus();
}

Status Renderer::write(const Node& node, const Value& value) {
  return value.is_text() ? write_text(node, value.text()) : write_text(node, str_of(value));
}

StatusOr<Renderer::Flow> Renderer::run_if(const Node& node) {
  for (size_t i = 0; i < node.parts.size(); ++i) {
    GQ_ASSIGN_OR_RETURN(const Value condition, eval(*node.parts[i]));
    if (is_true(condition)) return run_body(node.bodies[i]);
  }
  return run_body(node.bodies.back());
}

// The items that pass the loop's filter, which sees the target but not `loop`.
StatusOr<std::vector<Value>> Renderer::loop_items(const Node& node) {
  GQ_ASSIGN_OR_RETURN(const Value iterable, eval(*node.parts[1]));
  StatusOr<std::vector<Value>> items = iterate(iterable);
  if (!items.ok()) return failed_at(*node.parts[1], items.status());
  GQ_RETURN_IF_ERROR(failed_at(node, budget_.spend_items(static_cast<int64_t>(items->size()))));
  if (node.parts[2] == nullptr) return items;
  std::vector<Value> passed;
  for (const Value& item : *items) {
    const Scope scope(*this);
    GQ_RETURN_IF_ERROR(assign(*node.parts[0], item));
    GQ_ASSIGN_OR_RETURN(const Value condition, eval(*node.parts[2]));
    if (is_true(condition)) passed.push_back(item);
  }
  return passed;
}

StatusOr<Renderer::Flow> Renderer::run_for(const Node& node) {
  GQ_ASSIGN_OR_RETURN(std::vector<Value> items, loop_items(node));
  if (items.empty()) {
    const Scope scope(*this);
    return run_body(node.bodies[1]);
  }
  auto loop = std::make_shared<Loop>();
  loop->items = std::move(items);
  loop->depth = ++loop_depth_;
  for (loop->index = 0; loop->index < loop->items.size(); ++loop->index) {
    const Scope scope(*this);
    set_in(*frame_, "loop", Value(Value::Held(loop)));
    GQ_RETURN_IF_ERROR(assign(*node.parts[0], loop->items[loop->index]));
    GQ_ASSIGN_OR_RETURN(const Flow flow, run_body(node.bodies[0]));
    if (flow == Flow::kBreak) break;
  }
  --loop_depth_;
  return Flow::kNext;
}

StatusOr<std::string> Renderer::capture(const Body& body) {
  const Scope scope(*this);
  std::string before = std::exchange(out_, "");
  const StatusOr<Flow> flow = run_body(body);
  std::string text = std::exchange(out_, std::move(before));
  if (!flow.ok()) return flow.status();
  return text;
}

StatusOr<Value> Renderer::captured_and_filtered(const Node& node, const Node& filter) {
  GQ_ASSIGN_OR_RETURN(std::string text, capture(node.bodies[0]));
  const Value before = std::exchange(captured_, Value::of(std::move(text)));
  StatusOr<Value> value = eval(filter);
  captured_ = before;
  return value;
}

Status Renderer::run_set(const Node& node) {
  if (node.kind == Node::Kind::kSet) {
    GQ_ASSIGN_OR_RETURN(const Value value, eval(*node.parts[1]));
    return assign(*node.parts[0], value);
  }
  GQ_ASSIGN_OR_RETURN(const Value value, captured_and_filtered(node, *node.parts[1]));
  return assign(*node.parts[0], value);
}

Status Renderer::run_call_block(const Node& node) {
  const Node& called = *node.parts[0];
  GQ_ASSIGN_OR_RETURN(const Value callee, eval(*called.parts[0]));
  GQ_ASSIGN_OR_RETURN(const Arguments arguments, eval_arguments(called, 1));
  const Value caller = macro_of(*node.parts[1]);
  caller_ = &caller;
  const StatusOr<Value> value = call(called, callee, arguments);
  caller_ = nullptr;
  GQ_RETURN_IF_ERROR(value.status());
  return write(node, *value);
}

Status Renderer::run_with(const Node& node) {
  std::vector<Value> values;
  for (size_t i = 1; i < node.parts.size(); i += 2) {
    GQ_ASSIGN_OR_RETURN(Value value, eval(*node.parts[i]));
    values.push_back(std::move(value));
  }
  const Scope scope(*this);
  for (size_t i = 0; i < values.size(); ++i) GQ_RETURN_IF_ERROR(assign(*node.parts[2 * i], values[i]));
  return run_body(node.bodies[0]).status();
}

Status Renderer::assign(const Node& target, const Value& value) {
  if (target.kind == Node::Kind::kNamespaceName) return assign_in_namespace(target, value);
  if (target.kind != Node::Kind::kTuple) {
    set_in(*frame_, target.text, value);
    return absl::OkStatus();
  }
  const StatusOr<std::vector<Value>> items = iterate(value);
  if (!items.ok()) return failed_at(target, items.status());
  if (value.is_undefined()) return failed_at(target, defined(value));
  if (items->size() != target.parts.size()) {
    return failed_at(target, absl::InvalidArgumentError(std::to_string(items->size()) + " values for " +
                                                        std::to_string(target.parts.size()) + " names"));
  }
  for (size_t i = 0; i < items->size(); ++i) GQ_RETURN_IF_ERROR(assign(*target.parts[i], (*items)[i]));
  return absl::OkStatus();
}

Status Renderer::assign_in_namespace(const Node& target, const Value& value) {
  const Value* found = lookup(target.text);
  Namespace* names = found == nullptr ? nullptr : found->names();
  if (names == nullptr) {
    return failed_at(target, absl::InvalidArgumentError("'" + target.text + "' is no namespace, so its attribute '" +
                                                        target.names[0] + "' cannot be set"));
  }
  if (target.names[0].starts_with("_")) {
    return failed_at(target, absl::InvalidArgumentError("attributes that begin with _ cannot be set"));
  }
  for (auto& [name, held] : names->attributes) {
    if (name != target.names[0]) continue;
    held = value;
    return absl::OkStatus();
  }
  names->attributes.emplace_back(target.names[0], value);
  return absl::OkStatus();
}

Value Renderer::macro_of(const Node& node) const {
  auto macro = std::make_shared<Macro>();
  macro->name = node.text;
  macro->node = &node;
  macro->frame = frame_;
  return Value(Value::Held(std::shared_ptr<const Macro>(std::move(macro))));
}

}  // namespace gridquant::text::jinja
