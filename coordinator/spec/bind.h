// Expressions in their place: names looked up, types checked, values computed as far as they are known when the file is
// read.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "coordinator/spec/context.h"
#include "coordinator/spec/expression.h"
#include "coordinator/spec/params.h"
#include "coordinator/spec/ynode.h"

namespace gridquant::spec {

enum class StaticType { kAny, kNull, kBool, kNumber, kText };

using MatrixValues = std::map<std::string, nlohmann::json>;

struct NameInfo {
  bool ok = false;     // false: reported
  bool known = false;  // `value` is final
  nlohmann::json value = {};
  StaticType type = StaticType::kAny;
  std::string text = {};  // what to print instead of the name when it is not known
};

struct Scope {
  const Params& params;
  const MatrixValues& matrix;
  // For `if:` only; empty elsewhere, where stages.* is refused. Reports at `at` what it does not accept.
  std::function<NameInfo(const std::vector<std::string>& path, const Position& at)> stage_name;
};

struct Bound {
  bool ok = false;  // false: reported
  bool known = false;
  nlohmann::json value = {};
  StaticType type = StaticType::kAny;
  std::string text = {};         // the expression with params and matrix replaced
  const Param* param = nullptr;  // the expression is exactly this parameter
};

// `offset` is where `text` begins within the scalar's text.
Bound bind_expression(std::string_view text, const YNode& scalar, size_t offset, const Scope& scope,
                      const Context& context);

// The value of a scalar with ${...} in it: the expression's own value where it is nothing else, text otherwise.
Bound bind_template(const YNode& scalar, const Scope& scope, const Context& context);

bool has_expression(const YNode& scalar);
StaticType type_of_value(const nlohmann::json& value);
std::string describe_type(StaticType type);

}  // namespace gridquant::spec
