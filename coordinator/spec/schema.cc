// The JSON Schema of pipeline files (draft-07, which editors support best), from the same tables as the validator.
//
// It is for completion and early warnings in editors. What a schema cannot say (circles, inputs, references, ranges of
// durations) only `gridquant validate` says.
#include <nlohmann/json.hpp>

#include "coordinator/spec/check.h"
#include "coordinator/spec/format.h"
#include "coordinator/spec/scalars.h"
#include "coordinator/spec/spec.h"

namespace gridquant::spec {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kDnsLabel[] = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
constexpr char kIdentifier[] = "^[A-Za-z_][-A-Za-z0-9_]{0,62}$";
constexpr char kDuration[] = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
constexpr char kSize[] = "^[0-9]+(k|M|G|T|Ki|Mi|Gi|Ti)?$";

Json schema_of(const FormatField& field, bool expressions);

Json choices(const FormatField& field) {
  Json values = Json::array();
  for (const std::string& choice : field.choices)
    values.push_back(Json(read_scalar(choice, field.shape == Shape::kString || field.shape == Shape::kObject)));
  return values;
}

// A whole bound is written as an integer: 1, not 1.0.
Json bound(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? Json(whole) : Json(value);
}

Json object_schema(const FormatField& field, bool expressions) {
  Json schema = {{"type", "object"}, {"additionalProperties", false}};
  Json properties = Json::object();
  Json required = Json::array();
  for (const FormatField& inner : field.fields) {
    const bool evaluated = inner.name == "resources" || inner.name == "parallelism";
    properties[inner.name] = schema_of(inner, expressions || evaluated);
    if (inner.required) required.push_back(inner.name);
  }
  schema["properties"] = std::move(properties);
  if (!required.empty()) schema["required"] = std::move(required);
  for (const std::string& name : field.one_of) {
    schema["anyOf"].push_back({{"required", {name}}, {"properties", {{name, {{"minItems", 1}}}}}});
  }
  return schema;
}

Json list_of(Json items, bool not_empty) {
  Json schema = {{"type", "array"}, {"items", std::move(items)}};
  if (not_empty) schema["minItems"] = 1;
  return schema;
}

Json number_schema(const FormatField& field, const char* type) {
  if (!field.choices.empty()) return {{"enum", choices(field)}};
  Json schema = {{"type", type}};
  if (field.minimum) schema["minimum"] = bound(*field.minimum);
  if (field.maximum) schema["maximum"] = bound(*field.maximum);
  return schema;
}

Json map_schema(const FormatField& field) {
  Json schema = {{"type", "object"}};
  if (field.keys != KeyRule::kAny) {
    schema["propertyNames"] = {{"pattern", field.keys == KeyRule::kDnsLabel ? kDnsLabel : kIdentifier}};
  }
  for (const std::string& key : field.refused) schema["properties"][key] = false;
  schema["additionalProperties"] = schema_of(field.fields[0], false);
  return schema;
}

Json plain_schema(const FormatField& field, bool expressions) {
  const Json text = {{"type", "string"}};
  switch (field.shape) {
    case Shape::kInt:
      return number_schema(field, "integer");
    case Shape::kNumber:
      return number_schema(field, "number");
    case Shape::kBool:
      return {{"type", "boolean"}};
    case Shape::kString:
      return field.choices.empty() ? text : Json{{"enum", choices(field)}};
    case Shape::kName:
      return {{"type", "string"}, {"pattern", kDnsLabel}};
    case Shape::kPath:
      return {{"type", "string"}, {"minLength", 1}};
    case Shape::kDuration:
      return {{"type", "string"}, {"minLength", 1}, {"pattern", kDuration}};
    case Shape::kSize:
      return {{"type", {"string", "integer"}}, {"minimum", 1}, {"pattern", kSize}};
    case Shape::kScalar:
      return {{"type", {"string", "number", "boolean"}}};
    case Shape::kCondition:
      return {{"type", {"string", "boolean"}}};
    case Shape::kScalarList: {
      Json schema = list_of({{"type", {"string", "number", "boolean"}}}, true);
      schema["uniqueItems"] = true;
      return schema;
    }
    case Shape::kStringList:
      return list_of(text, false);
    case Shape::kChoiceList:
      return {{"type", "array"}, {"items", {{"enum", choices(field)}}}, {"uniqueItems", true}};
    case Shape::kNeeds:
      return {{"oneOf", {text, {{"type", "array"}, {"items", text}, {"uniqueItems", true}}}}};
    case Shape::kObjectList:
      return list_of(object_schema(field, expressions), field.required);
    case Shape::kObject:
      if (field.choices.empty()) return object_schema(field, expressions);
      return {{"anyOf", {{{"enum", choices(field)}}, object_schema(field, expressions)}}};
    case Shape::kMap:
      return map_schema(field);
    case Shape::kWith:
      return {{"type", "object"}};
  }
  return text;
}

Json schema_of(const FormatField& field, bool expressions) {
  Json schema = plain_schema(field, expressions);
  // Lists and maps are written out; expressions stand for single values, and text takes any text anyway.
  const bool text = schema.value("type", Json()) == "string";
  const bool single =
      field.shape != Shape::kObjectList && field.shape != Shape::kStringList && field.shape != Shape::kObject;
  if (expressions && single && !text) {
    schema = {{"anyOf", {std::move(schema), {{"type", "string"}, {"pattern", "\\$\\{.*\\}"}}}}};
  }
  if (!field.doc.empty()) schema["description"] = field.doc;
  if (!field.default_value.empty()) schema["default"] = Json::parse(field.default_value);
  return schema;
}

// `with` depends on `uses`: one if/then for each kind of stage.
void add_stage_kinds(Json& stage) {
  Json names = Json::array();
  Json cases = Json::array();
  for (const stages::StageInfo& info : stages::all_stages()) {
    names.push_back(info.name);
    const FormatField format = with_format(info);
    Json then = {{"properties",
                  {{"with", schema_of({.name = "with",
                                       .shape = Shape::kObject,
                                       .doc = info.doc,
                                       .fields = format.fields,
                                       .one_of = format.one_of},
                                      true)}}}};
    if (!format.one_of.empty()) then["required"] = {"with"};
    for (const FormatField& field : format.fields) {
      if (field.required) then["required"] = {"with"};
    }
    cases.push_back({{"if", {{"properties", {{"uses", {{"const", info.name}}}}}, {"required", {"uses"}}}},
                     {"then", std::move(then)}});
  }
  stage["properties"]["uses"]["enum"] = std::move(names);
  stage["allOf"] = std::move(cases);
}

}  // namespace

std::string pipeline_json_schema() {
  Json schema = {{"$schema", "http://json-schema.org/draft-07/schema#"}, {"title", "gridquant pipeline"}};
  schema.update(schema_of(pipeline_format(), false));
  add_stage_kinds(schema["properties"]["spec"]["properties"]["stages"]["additionalProperties"]);
  schema["properties"]["spec"]["properties"]["stages"]["minProperties"] = 1;
  return schema.dump(2) + "\n";
}

}  // namespace gridquant::spec
