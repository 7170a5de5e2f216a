// Jinja templates, as far as chat templates use the language: parsed once, rendered with variables. The semantics are
// those of jinja2's ImmutableSandboxedEnvironment as transformers sets it up (trim_blocks, lstrip_blocks, loop
// controls, tojson, raise_exception, strftime_now); the syntax is described at
// https://jinja.palletsprojects.com/templates.
//
// Why our own: Debian 12 has no Jinja for C++ (libctemplate, libctpl and grantlee speak other languages; inja,
// Jinja2Cpp and minja are not packaged), and of those outside, inja has neither namespaces, macros nor Python's
// methods.
//
// What is refused by name: other templates (extends, include, import, block), recursive loops, * and ** arguments,
// formatting with %, whole numbers beyond 64 bits, texts marked as safe HTML, and a few filters (filters.cc). A
// variable that is used before it is set is undefined here as in Jinja.
//
// Bounded, for a template comes with a model and a model from anywhere: nesting, steps and the bytes of every text.
// A Template is immutable and may be rendered by several threads at once.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/base/status.h"
#include "engine/text/template/globals.h"

namespace gridquant::text::jinja {

struct Limits {
  int64_t steps = 20'000'000;   // a step is an expression, a statement, or 16 bytes of text
  int64_t max_text = 64 << 20;  // bytes of any one text
  size_t max_source = 4 << 20;  // bytes of a template
};

class Template {
 public:
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // `name` stands in messages: "NAME:3:14: why" (line and character, from 1). InvalidArgument for what is no template.
  static StatusOr<Template> parse(std::string_view source, const std::string& name, const Limits& limits = {});

  // `variables` is an object. `now` is what strftime_now gives. InvalidArgument where Jinja raises an error, also
  // raise_exception; Unimplemented for what is refused above.
  StatusOr<std::string> render(const nlohmann::ordered_json& variables, const Date& now = {}) const;

 private:
  struct State;
  explicit Template(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gridquant::text::jinja
