// Checks a stage's parameters against its catalog entry. Not here: positions in a YAML file (coordinator/spec).
#include "stages/parameters.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "stages/catalog/size.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

std::optional<int64_t> size_of(const json& value) {
  return read_size(value.is_string() ? value.get<std::string>() : value.dump());
}

bool has_type(const Field& field, const json& value) {
  switch (field.type) {
    case FieldType::kString:
    case FieldType::kPath:
    case FieldType::kEnum:
      return value.is_string();
    case FieldType::kInt:
      return value.is_number_integer();
    case FieldType::kNumber:
      return value.is_number();
    case FieldType::kSize:
      return size_of(value).has_value();
    case FieldType::kBool:
      return value.is_boolean();
    case FieldType::kStringList:
      return value.is_array() && std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_string(); });
    case FieldType::kObjectList:
      return value.is_array() && std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_object(); });
  }
  return false;
}

const char* type_name(FieldType type) {
  switch (type) {
    case FieldType::kString:
    case FieldType::kEnum:
      return "a string";
    case FieldType::kPath:
      return "a path";
    case FieldType::kInt:
      return "a whole number";
    case FieldType::kNumber:
      return "a number";
    case FieldType::kSize:
      return "a size such as 2Gi";
    case FieldType::kBool:
      return "true or false";
    case FieldType::kStringList:
      return "a list of strings";
    case FieldType::kObjectList:
      return "a list of objects";
  }
  return "another type";
}

void check_value(const Field& field, const std::string& where, const json& value, std::vector<std::string>& errors) {
  if (!has_type(field, value)) {
    errors.push_back(absl::StrCat(where, " must be ", type_name(field.type), ", not ", value.dump()));
    return;
  }
  if (!field.choices.empty()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (std::find(field.choices.begin(), field.choices.end(), text) == field.choices.end()) {
      errors.push_back(absl::StrCat(where, " must be one of ", absl::StrJoin(field.choices, ", "), ", not ", text));
    }
  }
  if (value.is_number()) {
    const double number = value.get<double>();
    if (field.minimum && number < *field.minimum) {
      errors.push_back(absl::StrCat(where, " must be at least ", *field.minimum, ", not ", value.dump()));
    }
    if (field.maximum && number > *field.maximum) {
      errors.push_back(absl::StrCat(where, " must be at most ", *field.maximum, ", not ", value.dump()));
    }
  }
}

void complete(const std::vector<Field>& fields, const std::string& prefix, json& object,
              std::vector<std::string>& errors) {
  for (const auto& [key, value] : object.items()) {
    const bool known = std::any_of(fields.begin(), fields.end(), [&](const Field& f) { return f.name == key; });
    if (!known) errors.push_back(absl::StrCat(prefix, key, " is not a parameter of this stage"));
  }
  for (const Field& field : fields) {
    const std::string where = prefix + field.name;
    if (!object.contains(field.name)) {
      if (!field.default_value.empty()) {
        object[field.name] = json::parse(field.default_value, nullptr, /*allow_exceptions=*/false);
      } else if (field.required) {
        errors.push_back(absl::StrCat(where, " is missing: ", field.doc));
      }
      continue;
    }
    json& value = object[field.name];
    check_value(field, where, value, errors);
    if (field.type != FieldType::kObjectList || !has_type(field, value)) continue;
    if (field.required && value.empty()) errors.push_back(absl::StrCat(where, " must not be empty"));
    for (size_t i = 0; i < value.size(); ++i) {
      complete(field.fields, absl::StrCat(where, "[", i, "]."), value[i], errors);
    }
  }
}

}  // namespace

uint64_t size_parameter(const json& with, const std::string& name) {
  return static_cast<uint64_t>(size_of(with.at(name)).value_or(0));
}

StatusOr<json> complete_parameters(const StageInfo& stage, const json& with) {
  json completed = with.is_null() ? json::object() : with;
  if (!completed.is_object()) return absl::InvalidArgumentError(absl::StrCat(stage.name, ": with must be an object"));
  std::vector<std::string> errors;
  complete(stage.fields, "with.", completed, errors);
  const bool any = std::any_of(stage.one_of.begin(), stage.one_of.end(), [&](const std::string& name) {
    return completed.contains(name) && !completed.at(name).empty();
  });
  if (!stage.one_of.empty() && !any) {
    errors.push_back(absl::StrCat("one of with.", absl::StrJoin(stage.one_of, ", with."), " is needed"));
  }
  if (!errors.empty()) return absl::InvalidArgumentError(absl::StrCat(stage.name, ": ", absl::StrJoin(errors, "; ")));
  return completed;
}

}  // namespace gridquant::stages
