#include "coordinator/spec/with.h"

#include "coordinator/spec/scalars.h"

namespace gridquant::spec {
namespace {

using nlohmann::json;

// "'datasets' or 'generate'"
std::string alternatives(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "'" : " or '") + name + "'";
  return text;
}

// Whether one of the lists that are needed is there. What is no list is reported elsewhere.
bool has_one_of(const YNode& map, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const YEntry* entry = find_entry(map, name);
    if (entry != nullptr && (entry->value->kind != YNode::Kind::kList || !entry->value->items.empty())) return true;
  }
  return names.empty();
}

bool is_list(Shape shape) {
  return shape == Shape::kStringList || shape == Shape::kObjectList;
}

bool fits(StaticType type, Shape shape) {
  switch (shape) {
    case Shape::kInt:
    case Shape::kNumber:
      return type == StaticType::kNumber;
    case Shape::kBool:
      return type == StaticType::kBool;
    case Shape::kSize:
      return type == StaticType::kNumber || type == StaticType::kText;
    case Shape::kString:
    case Shape::kPath:
      return type == StaticType::kText;
    default:
      return false;
  }
}

// Values are checked once they are known; before that, a parameter's type must at least not contradict.
bool may_fit(const Bound& bound, Shape shape) {
  if (bound.type == StaticType::kAny || bound.type == StaticType::kNull) return !is_list(shape);
  if (bound.param != nullptr && shape == Shape::kInt) return bound.param->field.shape == Shape::kInt;
  return fits(bound.type, shape);
}

class WithReader {
 public:
  WithReader(const Scope& scope, const Context& context) : scope_(scope), context_(context), sink_(context.sink) {}

  json object(const YNode& map, const FormatField& format, const YNode* key) {
    check_keys(map, format, key, sink_);
    if (!has_one_of(map, format.one_of)) {
      sink_.add(Code::kMissingKey, key == nullptr ? map.at : key->at, alternatives(format.one_of) + " is needed",
                "add at least one element to one of these lists");
    }
    json result = json::object();
    for (const FormatField& field : format.fields) {
      const YEntry* entry = find_entry(map, field.name);
      json given;
      if (entry != nullptr) given = value(*entry->value, field, entry->key);
      if (given.is_null() && !field.default_value.empty()) given = json::parse(field.default_value);
      if (!given.is_null()) result[field.name] = std::move(given);
    }
    return result;
  }

 private:
  // Null: nothing given, not known yet, or reported.
  json value(const YNode& node, const FormatField& field, const YNode* key) {
    if (has_expression(node)) return computed(node, field, key);
    if (field.shape == Shape::kObjectList) return objects(node, field, key);
    if (field.shape == Shape::kStringList) return texts(node, field, key);
    if (node.kind != YNode::Kind::kScalar) {
      report(wrong_type(node, field, key), node.at, sink_);
      return nullptr;
    }
    return checked(read_scalar(node.text, node.quoted), node, field, key);
  }

  json objects(const YNode& node, const FormatField& field, const YNode* key) {
    if (node.kind != YNode::Kind::kList) {
      report(wrong_type(node, field, key), node.at, sink_);
      return nullptr;
    }
    if (field.required && node.items.empty()) {
      sink_.add(Code::kEmpty, node.at, "'" + field.name + "' is empty", "add an element");
    }
    const FormatField element{.name = field.name + "[]", .shape = Shape::kObject, .fields = field.fields};
    json list = json::array();
    for (const YNode* item : node.items) {
      if (item->kind != YNode::Kind::kMap) {
        report(wrong_type(*item, element, nullptr), item->at, sink_);
        continue;
      }
      list.push_back(object(*item, element, nullptr));
    }
    return list;
  }

  json texts(const YNode& node, const FormatField& field, const YNode* key) {
    if (node.kind != YNode::Kind::kList) {
      report(wrong_type(node, field, key), node.at, sink_);
      return nullptr;
    }
    const FormatField element{.name = field.name + "[]", .shape = Shape::kString};
    json list = json::array();
    for (const YNode* item : node.items) {
      json text = value(*item, element, nullptr);
      if (!text.is_null()) list.push_back(std::move(text));
    }
    return list;
  }

  json computed(const YNode& node, const FormatField& field, const YNode* key) {
    Bound bound = bind_template(node, scope_, context_);
    if (!bound.ok || (bound.param != nullptr && !bound.param->sound)) return nullptr;
    if (is_list(field.shape)) {
      sink_.add(Code::kWrongType, node.at,
                "'" + field.name + "' must be " + describe_shape(field) +
                    "; expressions "
                    "have only single values",
                "write the list, with an expression for each element");
      return nullptr;
    }
    if (!bound.known) {
      if (!may_fit(bound, field.shape)) {
        const bool numeric = bound.param != nullptr && bound.type == StaticType::kNumber;
        const std::string type = numeric && bound.param->field.shape == Shape::kInt ? "int" : "number";
        const std::string found = numeric ? "a parameter of type " + type : describe_type(bound.type);
        sink_.add(Code::kWrongType, node.at,
                  "'" + field.name + "' must be " + describe_shape(field) + ", not " + found);
      }
      return nullptr;
    }
    if (bound.value.is_null()) {
      if (field.required) {
        sink_.add(Code::kMissingKey, node.at, "'" + field.name + "' is required, but this expression has no value",
                  "give the parameter a default or make it required");
      }
      return nullptr;
    }
    return checked(std::move(bound.value), node, field, key);
  }

  json checked(json value, const YNode& node, const FormatField& field, const YNode* key) {
    auto issue = check_value(value, field, key == nullptr ? "this value" : "'" + key->text + "'");
    if (issue) {
      if (issue->code == Code::kBadChoice) issue->hint = sink_.suggest(render_value(value), field.choices);
      if (has_expression(node)) issue->hint = "the expression's value is " + describe_value(value);
      report(*issue, node.at, sink_);
      return nullptr;
    }
    if (field.shape == Shape::kPath) return resolve_path(context_.file_folder, value.get<std::string>());
    return value;
  }

  const Scope& scope_;
  const Context& context_;
  Sink& sink_;
};

}  // namespace

json read_with(const YEntry* entry, const YNode& stage_key, const FormatField& format, const Scope& scope,
               const Context& context) {
  if (entry != nullptr && entry->value->kind != YNode::Kind::kMap) {
    report(wrong_type(*entry->value, format, entry->key), entry->value->at, context.sink);
    return nullptr;
  }
  if (entry != nullptr) return WithReader(scope, context).object(*entry->value, format, entry->key);
  if (!format.one_of.empty()) {
    context.sink.add(Code::kMissingKey, stage_key.at,
                     "stage '" + stage_key.text + "' needs " + alternatives(format.one_of) + " in 'with'",
                     "add 'with: {" + format.one_of.front() + ": ...}'");
  }
  json defaults = json::object();
  for (const FormatField& field : format.fields) {
    if (field.required) {
      context.sink.add(Code::kMissingKey, stage_key.at,
                       "stage '" + stage_key.text + "' needs '" + field.name + "' in 'with'",
                       "add 'with: {" + field.name + ": ...}'");
    }
    if (!field.default_value.empty()) defaults[field.name] = json::parse(field.default_value);
  }
  return defaults;
}

}  // namespace gridquant::spec
