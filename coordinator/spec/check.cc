#include "coordinator/spec/check.h"

#include <algorithm>
#include <set>
#include <unordered_set>

#include "coordinator/spec/scalars.h"

namespace gridquant::spec {
namespace {

using nlohmann::json;

std::string join(const std::vector<std::string>& words) {
  std::string result;
  for (const std::string& word : words) result += (result.empty() ? "" : ", ") + word;
  return result;
}

std::string number_text(double value) {
  return read_scalar(json(value).dump(), false).dump();
}

// A bound for people: 4, not 4.0; durations and sizes in their units.
std::string bound_text(double value, Shape shape) {
  const auto whole = static_cast<int64_t>(value);
  if (shape == Shape::kDuration) {
    for (const auto& [unit, factor] : {std::pair{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}}) {
      if (whole % factor == 0) return std::to_string(whole / factor) + unit;
    }
    return std::to_string(whole) + "ms";
  }
  if (shape == Shape::kSize) {
    for (const auto& [unit, shift] : {std::pair{"Ti", 40}, {"Gi", 30}, {"Mi", 20}, {"Ki", 10}}) {
      if (whole % (int64_t{1} << shift) == 0) return std::to_string(whole >> shift) + unit;
    }
  }
  return static_cast<double>(whole) == value ? std::to_string(whole) : number_text(value);
}

bool equals_choice(const json& value, const std::string& choice) {
  if (value.is_string()) return value.get_ref<const std::string&>() == choice;
  const auto number = read_number(choice);
  return number && value.is_number() && value.get<double>() == *number;
}

std::optional<Issue> check_range(double value, const FormatField& field, const std::string& what) {
  const bool low = field.minimum && value < *field.minimum;
  const bool high = field.maximum && value > *field.maximum;
  if (!low && !high) return std::nullopt;
  std::string range;
  if (field.minimum && field.maximum) {
    range = "between " + bound_text(*field.minimum, field.shape) + " and " + bound_text(*field.maximum, field.shape);
  } else if (field.minimum) {
    range = "at least " + bound_text(*field.minimum, field.shape);
  } else {
    range = "at most " + bound_text(*field.maximum, field.shape);
  }
  return Issue{Code::kOutOfRange, what + " must be " + range, ""};
}

// What a value that is text should have been, when it looks like a familiar mistake.
std::string hint_for_text(const std::string& text, Shape shape) {
  if (shape == Shape::kBool && (text == "yes" || text == "on" || text == "Yes" || text == "On")) return "write true";
  if (shape == Shape::kBool && (text == "no" || text == "off" || text == "No" || text == "Off")) return "write false";
  if (shape == Shape::kInt || shape == Shape::kNumber) {
    if (read_number(text)) return "remove the quotes";
    if (text.size() > 1 && text[0] == '0') return "write a decimal number without leading zeros";
  }
  if (shape == Shape::kBool && read_bool(text)) return "remove the quotes";
  return "";
}

bool has_type(const json& value, Shape shape) {
  switch (shape) {
    case Shape::kInt:
      return value.is_number_integer();
    case Shape::kNumber:
      return value.is_number();
    case Shape::kBool:
      return value.is_boolean();
    case Shape::kSize:
      return value.is_string() || value.is_number_integer();
    case Shape::kScalar:
      return value.is_primitive() && !value.is_null();
    default:
      return value.is_string();
  }
}

std::optional<Issue> check_quantity(const json& value, const FormatField& field, const std::string& what) {
  const std::string text = render_value(value);
  const auto quantity = field.shape == Shape::kDuration ? read_duration(text) : read_size(text);
  if (quantity) return check_range(static_cast<double>(*quantity), field, what);
  const std::string kind = field.shape == Shape::kDuration ? "duration" : "size";
  return Issue{
      Code::kBadQuantity, what + " is no " + kind + ": '" + shorten(text, 40) + "'",
      field.shape == Shape::kDuration ? "write 500ms, 30s, 10m, 2h or 1h30m" : "write 512Mi, 64Gi or plain bytes"};
}

void check_key_name(const YNode& key, const FormatField& field, Sink& sink) {
  if (field.keys == KeyRule::kDnsLabel && !is_dns_label(key.text)) {
    sink.add(Code::kBadName, key.at, "'" + shorten(key.text) + "' is no name for a stage",
             "1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit");
  }
  if (field.keys == KeyRule::kIdentifier && !is_identifier(key.text)) {
    sink.add(Code::kBadName, key.at, "'" + shorten(key.text) + "' is no name that an expression can use",
             "a letter or '_', then letters, digits, '_' and '-', at most 63");
  }
}

// How messages call a value.
std::string name_of(const FormatField& field, const YNode* key) {
  if (key != nullptr) return "'" + shorten(key->text) + "'";
  return field.name.empty() ? "this value" : "'" + field.name + "'";
}

void check_scalar(const YNode& node, const FormatField& field, const YNode* key, Sink& sink) {
  if (node.kind != YNode::Kind::kScalar) return report(wrong_type(node, field, key), node.at, sink);
  const json value = read_scalar(node.text, node.quoted);
  const auto issue = check_value(value, field, name_of(field, key));
  if (!issue) return;
  if (value.is_string() && node.text.find("${") != std::string::npos) {
    return report({Code::kNotAvailableHere,
                   "expressions are evaluated only in 'with', 'if', 'resources' and 'parallelism'", "write the value"},
                  node.at, sink);
  }
  Issue shown = *issue;
  if (shown.code == Code::kBadChoice && shown.hint.empty()) shown.hint = sink.suggest(node.text, field.choices);
  report(shown, node.at, sink);
}

void check_list(const YNode& node, const FormatField& field, const YNode* key, Sink& sink) {
  if (node.kind != YNode::Kind::kList) {
    if (field.shape == Shape::kNeeds && node.kind == YNode::Kind::kScalar) return;
    return report(wrong_type(node, field, key), node.at, sink);
  }
  if (field.shape == Shape::kScalarList && node.items.empty()) {
    sink.add(Code::kEmpty, node.at, name_of(field, key) + " is empty", "add a value or remove the key");
  }
  FormatField element{.name = "",
                      .shape = field.shape == Shape::kScalarList ? Shape::kScalar : Shape::kString,
                      .choices = field.choices};
  std::unordered_set<std::string> seen;
  for (const YNode* item : node.items) {
    check_scalar(*item, element, nullptr, sink);
    if (field.shape == Shape::kStringList || item->kind != YNode::Kind::kScalar) continue;
    if (!seen.insert(read_scalar(item->text, item->quoted).dump()).second) {
      sink.add(Code::kListedTwice, item->at, "'" + shorten(item->text) + "' is listed twice", "remove one of the two");
    }
  }
}

// Whether one of the words that may stand for a map does.
bool is_choice(const YNode& node, const FormatField& field) {
  return node.kind == YNode::Kind::kScalar &&
         std::find(field.choices.begin(), field.choices.end(), node.text) != field.choices.end();
}

bool is_refused(const YNode& key, const FormatField& field) {
  return std::find(field.refused.begin(), field.refused.end(), key.text) != field.refused.end();
}

}  // namespace

std::string describe_shape(const FormatField& field) {
  switch (field.shape) {
    case Shape::kInt:
      return "a whole number";
    case Shape::kNumber:
      return "a number";
    case Shape::kBool:
      return "true or false";
    case Shape::kPath:
      return "a path";
    case Shape::kName:
      return "a name";
    case Shape::kDuration:
      return "a duration such as 30s or 1h30m";
    case Shape::kSize:
      return "a size such as 64Gi";
    case Shape::kScalar:
      return "text, a number, true or false";
    case Shape::kCondition:
      return "an expression";
    case Shape::kScalarList:
    case Shape::kStringList:
    case Shape::kChoiceList:
      return "a list";
    case Shape::kNeeds:
      return "a stage's name or a list of them";
    case Shape::kObjectList:
      return "a list of maps";
    case Shape::kObject:
      return field.choices.empty() ? "a map" : "'" + field.choices.front() + "' or a map";
    case Shape::kMap:
    case Shape::kWith:
      return "a map";
    case Shape::kString:
      return "text";
  }
  return "text";
}

Issue wrong_type(const YNode& node, const FormatField& field, const YNode* key) {
  std::string hint;
  if (node.kind == YNode::Kind::kNull) hint = "write a value or remove the key";
  if (!field.choices.empty() && field.shape == Shape::kObject) {
    hint = "write {" + field.fields.front().name + ": N}";
  }
  return {Code::kWrongType, name_of(field, key) + " must be " + describe_shape(field) + ", not " + describe(node),
          hint};
}

void report(const Issue& issue, const Position& at, Sink& sink) {
  sink.add(issue.code, at, issue.message, issue.hint);
}

std::optional<Issue> check_value(const json& value, const FormatField& field, const std::string& what) {
  const bool text = value.is_string();
  if (!has_type(value, field.shape)) {
    std::string hint;
    if (text) hint = hint_for_text(value.get<std::string>(), field.shape);
    if (!text && has_type("", field.shape) && value.is_primitive()) hint = "put it in quotes to make it text";
    if (field.shape == Shape::kDuration && value.is_number()) hint = "add a unit: 30s, 10m, 2h";
    return Issue{Code::kWrongType, what + " must be " + describe_shape(field) + ", not " + describe_value(value), hint};
  }
  if (field.shape == Shape::kDuration || field.shape == Shape::kSize) return check_quantity(value, field, what);
  if (!field.choices.empty()) {
    const auto matches = [&](const std::string& choice) { return equals_choice(value, choice); };
    if (std::any_of(field.choices.begin(), field.choices.end(), matches)) return std::nullopt;
    return Issue{Code::kBadChoice, what + " must be one of " + join(field.choices) + ", not " + describe_value(value),
                 ""};
  }
  if (value.is_number()) return check_range(value.get<double>(), field, what);
  if (field.shape == Shape::kName && !is_dns_label(value.get_ref<const std::string&>())) {
    return Issue{Code::kBadName, what + " is no valid name: '" + shorten(value.get<std::string>(), 70) + "'",
                 "1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit"};
  }
  if (field.shape == Shape::kPath && value.get_ref<const std::string&>().empty()) {
    return Issue{Code::kEmpty, what + " is empty", "write a path"};
  }
  return std::nullopt;
}

void check_keys(const YNode& map, const FormatField& object, const YNode* key, Sink& sink) {
  std::set<std::string> misspelt;
  for (const YEntry& entry : map.entries) {
    if (find_field(object, entry.key->text) != nullptr) continue;
    std::vector<std::string> names;
    for (const FormatField& field : object.fields) names.push_back(field.name);
    std::string hint = sink.suggest(entry.key->text, names);
    // A misspelt key is one mistake: the right one does not also count as missing.
    for (const std::string& name : names) {
      if (hint.find("'" + name + "'") != std::string::npos) misspelt.insert(name);
    }
    if (hint.empty()) hint = "known here: " + join(names);
    sink.add(Code::kUnknownKey, entry.key->at, "unknown key '" + shorten(entry.key->text) + "'", std::move(hint));
  }
  for (const FormatField& field : object.fields) {
    if (!field.required || find(map, field.name) != nullptr || misspelt.contains(field.name)) continue;
    const std::string where = key == nullptr && object.name.empty() ? "" : " in " + name_of(object, key);
    sink.add(Code::kMissingKey, key == nullptr ? map.at : key->at, "missing key '" + field.name + "'" + where,
             "add '" + field.name + ": ...'");
  }
}

void check_shape(const YNode& node, const FormatField& field, const YNode* key, Sink& sink) {
  switch (field.shape) {
    case Shape::kWith:
    case Shape::kCondition:
      return;
    case Shape::kScalarList:
    case Shape::kStringList:
    case Shape::kChoiceList:
    case Shape::kNeeds:
      return check_list(node, field, key, sink);
    case Shape::kObjectList:  // only in the catalog, where with.cc reads it
      return;
    case Shape::kObject:
      if (is_choice(node, field)) return;
      if (node.kind != YNode::Kind::kMap) return report(wrong_type(node, field, key), node.at, sink);
      check_keys(node, field, key, sink);
      for (const YEntry& entry : node.entries) {
        const FormatField* inner = find_field(field, entry.key->text);
        if (inner != nullptr) check_shape(*entry.value, *inner, entry.key, sink);
      }
      return;
    case Shape::kMap:
      if (node.kind != YNode::Kind::kMap) return report(wrong_type(node, field, key), node.at, sink);
      for (const YEntry& entry : node.entries) {
        if (is_refused(*entry.key, field)) {
          sink.add(Code::kUnknownKey, entry.key->at, "'" + field.name + "' has no '" + entry.key->text + "'",
                   field.refused_hint);
          continue;
        }
        check_key_name(*entry.key, field, sink);
        check_shape(*entry.value, field.fields[0], entry.key, sink);
      }
      return;
    default:
      return check_scalar(node, field, key, sink);
  }
}

}  // namespace gridquant::spec
