// A template from outside: source in, JSON in, text out.
#include "engine/text/template/template.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "engine/text/template/parser.h"
#include "engine/text/template/renderer.h"
#include "engine/text/utf8.h"

namespace gridquant::text::jinja {
namespace {

using Json = nlohmann::ordered_json;

StatusOr<Value> value_of(const Json& json, int level) {
  if (level > kMaxValueDepth) return absl::InvalidArgumentError("the variables are nested too deeply");
  if (json.is_null()) return Value::none();
  if (json.is_boolean()) return Value::of(json.get<bool>());
  if (json.is_string()) return Value::of(json.get<std::string>());
  if (json.is_number_float()) return Value::of(json.get<double>());
  if (json.is_number_unsigned() && json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError("a whole number in the variables has more than 64 bits");
  }
  if (json.is_number_integer()) return Value::of(json.get<int64_t>());
  if (json.is_array()) {
    std::vector<Value> items;
    for (const Json& element : json) {
      GQ_ASSIGN_OR_RETURN(Value item, value_of(element, level + 1));
      items.push_back(std::move(item));
    }
    return make_sequence(Sequence::Flavor::kList, std::move(items));
  }
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [key, element] : json.items()) {
    GQ_ASSIGN_OR_RETURN(Value item, value_of(element, level + 1));
    items.emplace_back(Value::of(key), std::move(item));
  }
  return make_dict(std::move(items));
}

// "NAME:3:14: why" from "3:14: why".
Status named(const Status& status, const std::string& name) {
  return absl::Status(status.code(), name + ":" + std::string(status.message()));
}

}  // namespace

struct Template::State {
  std::string name;
  std::string source;
  std::vector<NodePtr> nodes;
  Limits limits;
};

Template::Template(std::unique_ptr<State> state) : state_(std::move(state)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

StatusOr<Template> Template::parse(std::string_view source, const std::string& name, const Limits& limits) {
  if (source.size() > limits.max_source) {
    return absl::InvalidArgumentError(name + ": a template of " + std::to_string(source.size()) +
                                      " bytes is too large (at most " + std::to_string(limits.max_source) + ")");
  }
  const size_t invalid = first_invalid_utf8(source);
  if (invalid != kAllValid) {
    return absl::InvalidArgumentError(name + ": is not UTF-8 at byte " + std::to_string(invalid));
  }
  auto state = std::make_unique<State>();
  state->name = name;
  state->source = normalized(source);
  state->limits = limits;
  StatusOr<std::vector<NodePtr>> nodes = jinja::parse(state->source);
  if (!nodes.ok()) return named(nodes.status(), name);
  state->nodes = *std::move(nodes);
  return Template(std::move(state));
}

StatusOr<std::string> Template::render(const Json& variables, const Date& now) const {
  if (!variables.is_object()) return absl::InvalidArgumentError(state_->name + ": the variables are no object");
  std::vector<std::pair<std::string, Value>> values;
  for (const auto& [name, json] : variables.items()) {
    StatusOr<Value> value = value_of(json, 0);
    if (!value.ok()) return annotate(value.status(), state_->name);
    values.emplace_back(name, *std::move(value));
  }
  Renderer renderer(state_->source, now, Budget(state_->limits.steps, state_->limits.max_text));
  StatusOr<std::string> text = renderer.run(state_->nodes, std::move(values));
  return text.ok() ? text : StatusOr<std::string>(named(text.status(), state_->name));
}

}  // namespace gridquant::text::jinja
