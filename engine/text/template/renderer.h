// Inside engine/text/template only: walks a template's tree and writes its text.
//
// Scopes are Jinja's: loops, macros, blocks of set, call, filter and with have a scope of their own that sees what is
// around it, and what they set ends with it (namespaces are there to carry values out); `if` has none.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/template/arguments.h"
#include "engine/text/template/globals.h"
#include "engine/text/template/syntax.h"
#include "engine/text/template/value.h"

namespace gridquant::text::jinja {

struct Frame {
  std::shared_ptr<Frame> parent;
  std::vector<std::pair<std::string, Value>> names;
};

class Renderer {
 public:
  // Borrows the source (for positions in messages).
  Renderer(std::string_view source, const Date& now, Budget budget);
  ~Renderer();
  Renderer(const Renderer&) = delete;
  Renderer& operator=(const Renderer&) = delete;

  StatusOr<std::string> run(const std::vector<NodePtr>& nodes, std::vector<std::pair<std::string, Value>> variables);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class Scope;  // a frame for as long as it lives
  using Body = std::vector<NodePtr>;

  // render_statements.cc
  StatusOr<Flow> run_body(const Body& body);
  StatusOr<Flow> run_node(const Node& node);
  StatusOr<Flow> run_if(const Node& node);
  StatusOr<Flow> run_for(const Node& node);
  StatusOr<std::vector<Value>> loop_items(const Node& node);
  Status run_set(const Node& node);
  Status run_call_block(const Node& node);
  Status run_with(const Node& node);
  Status write(const Node& node, const Value& value);
  Status write_text(const Node& node, std::string_view text);
  // The text that `body` gives, in a scope of its own.
  StatusOr<std::string> capture(const Body& body);
  StatusOr<Value> captured_and_filtered(const Node& node, const Node& filter);
  Status assign(const Node& target, const Value& value);
  Status assign_in_namespace(const Node& target, const Value& value);
  Value macro_of(const Node& node) const;

  // render_expressions.cc
  StatusOr<Value> eval(const Node& node);
  StatusOr<Value> eval_kind(const Node& node);
  StatusOr<Value> eval_name(const Node& node);
  StatusOr<Value> eval_parts(const Node& node, Sequence::Flavor flavor);
  StatusOr<Value> eval_dict(const Node& node);
  StatusOr<Value> eval_slice(const Node& node);
  StatusOr<Value> eval_compare(const Node& node);
  StatusOr<Value> eval_concat(const Node& node);
  StatusOr<Value> eval_condition(const Node& node);
  StatusOr<Value> eval_call(const Node& node);
  StatusOr<Arguments> eval_arguments(const Node& node, size_t first);
  StatusOr<Value> call(const Node& node, const Value& callee, const Arguments& arguments);
  StatusOr<Value> call_macro(const Node& node, const Macro& macro, const Arguments& arguments);
  Status bind_parameters(const Node& macro, const Arguments& arguments);
  StatusOr<Value> make_namespace(const Arguments& arguments);
  const Value* lookup(const std::string& name) const;

  Status failed_at(const Node& node, const Status& status) const;
  Status spend(const Node& node, const Value& value);

  std::string_view source_;
  Date now_;
  Budget budget_;
  std::shared_ptr<Frame> frame_;
  std::string out_;
  Value captured_;                 // what kCaptured stands for
  const Value* caller_ = nullptr;  // for the macro that a call block calls
  // Of statements and expressions in each other, macros' calls included.
  static constexpr int kMaxLevel = 400;
  int level_ = 0;  // of nested calls of eval and run_node
  int loop_depth_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;  // emptied in the end: they may hold each other
};

}  // namespace gridquant::text::jinja
