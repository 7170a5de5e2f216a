#include "coordinator/spec/params.h"

#include <filesystem>

#include "coordinator/spec/scalars.h"

namespace gridquant::spec {
namespace {

using nlohmann::json;

std::optional<Shape> shape_named(const std::string& type) {
  if (type == "string") return Shape::kString;
  if (type == "int") return Shape::kInt;
  if (type == "number") return Shape::kNumber;
  if (type == "bool") return Shape::kBool;
  if (type == "path") return Shape::kPath;
  return std::nullopt;
}

const YNode* scalar(const YNode& map, std::string_view key) {
  const YNode* node = find(map, key);
  return node != nullptr && node->kind == YNode::Kind::kScalar ? node : nullptr;
}

// Text of the command line as a value of the field's type; text that is none stays text, and is refused by its type.
json value_from_text(const std::string& text, Shape shape) {
  if (shape == Shape::kString || shape == Shape::kPath) return text;
  return read_scalar(text, false);
}

class ParamReader {
 public:
  ParamReader(const YEntry& entry, const Context& context)
      : key_(*entry.key), node_(*entry.value), context_(context), sink_(context.sink) {}

  Param read() {
    param_.field.name = key_.text;
    const YNode* type = node_.kind == YNode::Kind::kMap ? scalar(node_, "type") : nullptr;
    const auto shape = type == nullptr ? std::nullopt : shape_named(type->text);
    if (!shape) {
      param_.sound = false;
      return param_;
    }
    param_.field.shape = *shape;
    read_bounds();
    read_choices();
    read_value();
    return param_;
  }

 private:
  void contradiction(const Position& at, std::string message, std::string hint = "") {
    sink_.add(Code::kBadDeclaration, at, std::move(message), std::move(hint));
    param_.sound = false;
  }

  void read_bounds() {
    const bool numeric = param_.field.shape == Shape::kInt || param_.field.shape == Shape::kNumber;
    for (const char* name : {"minimum", "maximum"}) {
      const YEntry* entry = find_entry(node_, name);
      if (entry == nullptr) continue;
      if (!numeric) {
        contradiction(entry->key->at, std::string("'") + name + "' fits only parameters of type int or number");
        continue;
      }
      const auto bound = read_number(entry->value->text);
      (name[1] == 'i' ? param_.field.minimum : param_.field.maximum) = bound;
    }
    const auto& field = param_.field;
    if (field.minimum && field.maximum && *field.minimum > *field.maximum) {
      contradiction(find(node_, "minimum")->at, "'minimum' is greater than 'maximum'");
    }
  }

  void read_choices() {
    const YNode* list = find(node_, "enum");
    if (list == nullptr) return;
    if (param_.field.shape == Shape::kBool) {
      return contradiction(find_entry(node_, "enum")->key->at, "'enum' does not fit parameters of type bool");
    }
    FormatField element = param_.field;
    std::vector<std::string> choices;
    for (const YNode* item : list->items) {
      if (item->kind != YNode::Kind::kScalar) continue;
      const json value = read_scalar(item->text, item->quoted);
      if (const auto issue = check_value(value, element, "a value of 'enum'")) {
        report(*issue, item->at, sink_);
        param_.sound = false;
      }
      choices.push_back(render_value(value));
    }
    param_.field.choices = std::move(choices);
  }

  void read_value() {
    const YNode* required = scalar(node_, "required");
    const bool is_required = required != nullptr && read_bool(required->text).value_or(false);
    const YNode* fallback = find(node_, "default");
    if (is_required && fallback != nullptr) {
      contradiction(required->at, "a required parameter cannot have a default", "remove 'required' or 'default'");
    }
    if (fallback != nullptr) read_default(*fallback);
    const auto given = context_.options.params.find(key_.text);
    if (given != context_.options.params.end()) return read_given(given->second);
    if (fallback != nullptr) {
      param_.known = param_.sound;
    } else if (!is_required) {
      param_.known = true;
    } else if (context_.options.params_required) {
      sink_.add(Code::kParamRequired, key_.at, "the parameter '" + key_.text + "' is required",
                "give it with -p " + key_.text + "=...");
    }
  }

  void read_default(const YNode& node) {
    if (node.kind != YNode::Kind::kScalar) {
      param_.sound = false;
      return;
    }
    json value = read_scalar(node.text, node.quoted);
    if (node.text.find("${") != std::string::npos) {
      contradiction(node.at, "expressions are not evaluated in the default of a parameter");
      return;
    }
    if (!param_.sound) return;
    if (const auto issue = check_value(value, param_.field, "'default'")) {
      report(*issue, node.at, sink_);
      param_.sound = false;
      return;
    }
    if (param_.field.shape == Shape::kPath) value = resolve_path(context_.file_folder, value.get<std::string>());
    param_.value = std::move(value);
  }

  void read_given(const std::string& text) {
    if (!param_.sound) return;
    const bool is_text = !first_invalid_utf8(text) && !first_control_character(text);
    json value = value_from_text(is_text ? text : "", param_.field.shape);
    auto issue = check_value(value, param_.field, "the value of '" + key_.text + "'");
    if (!is_text) issue = Issue{Code::kNotUtf8, "the value of '" + key_.text + "' is not UTF-8 text", ""};
    if (issue) {
      sink_.add(Code::kBadParamValue, key_.at, issue->message, "given with -p " + key_.text + "=" + shorten(text, 40));
      param_.sound = false;
      return;
    }
    if (param_.field.shape == Shape::kPath) value = resolve_path(context_.options.working_folder, text);
    param_.value = std::move(value);
    param_.known = true;
  }

  const YNode& key_;
  const YNode& node_;
  const Context& context_;
  Sink& sink_;
  Param param_;
};

void report_undeclared(const YNode& spec, const Params& params, const Context& context) {
  const YEntry* block = find_entry(spec, "params");
  const Position at = block == nullptr ? spec.at : block->key->at;
  std::vector<std::string> names;
  for (const auto& [name, param] : params) names.push_back(name);
  for (const auto& [name, text] : context.options.params) {
    if (params.contains(name)) continue;
    std::string hint = context.sink.suggest(name, names);
    if (hint.empty() && names.empty()) hint = "this pipeline has no parameters";
    if (hint.empty()) hint = "declare it under spec.params";
    context.sink.add(Code::kUndeclaredParam, at,
                     "-p gives '" + shorten(name) + "', which this pipeline does not declare", std::move(hint));
  }
}

}  // namespace

std::string resolve_path(const std::string& folder, const std::string& path) {
  std::string result = (std::filesystem::path(folder) / path).lexically_normal().string();
  if (result.size() > 1 && result.back() == '/') result.pop_back();
  return result;
}

std::string folder_of_file(const ParseOptions& options) {
  const std::string folder = std::filesystem::path(options.file).parent_path().string();
  return resolve_path(options.working_folder, folder.empty() ? "." : folder);
}

Params read_params(const YNode& spec, const Context& context) {
  Params params;
  const YNode* block = find(spec, "params");
  if (block != nullptr) {
    for (const YEntry& entry : block->entries) params.emplace(entry.key->text, ParamReader(entry, context).read());
  }
  report_undeclared(spec, params, context);
  return params;
}

json final_values(const Params& params) {
  json values = json::object();
  for (const auto& [name, param] : params) {
    if (param.known) values[name] = param.value;
  }
  return values;
}

}  // namespace gridquant::spec
