// A YNode against the format tables. Reports; converts nothing: later steps read a value that was reported here as
// absent, so that one mistake gives one diagnostic.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "coordinator/spec/format.h"
#include "coordinator/spec/sink.h"
#include "coordinator/spec/ynode.h"

namespace gridquant::spec {

struct Issue {
  Code code = Code::kWrongType;
  std::string message;
  std::string hint;
};

// A scalar value against a scalar field (shape, choices, range). `what` names it in the message.
std::optional<Issue> check_value(const nlohmann::json& value, const FormatField& field, const std::string& what);

// Reports everything in `node` that `field` does not allow, but leaves kWith and kCondition to those who know more.
// `key` is the key that `node` stands under (null: the document or a list element): it names the value in messages, and
// is where a missing key is shown.
void check_shape(const YNode& node, const FormatField& field, const YNode* key, Sink& sink);

// Unknown and missing keys of a map against `object.fields`.
void check_keys(const YNode& map, const FormatField& object, const YNode* key, Sink& sink);

void report(const Issue& issue, const Position& at, Sink& sink);
Issue wrong_type(const YNode& node, const FormatField& field, const YNode* key);
std::string describe_shape(const FormatField& field);  // "a whole number", "a list of names"

}  // namespace gridquant::spec
