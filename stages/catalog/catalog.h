// The table of stages: what each is called, what it needs, and every parameter with type, range, default and a
// sentence. One source for three readers: the pipeline validator, the JSON Schema generator, and the worker that parses
// a task. Pure data, no engine: the coordinator links it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gridquant::stages {

enum class FieldType { kString, kInt, kNumber, kBool, kPath, kEnum, kSize, kStringList, kObjectList };

struct Field {
  std::string name;  // camelCase, as in YAML
  FieldType type = FieldType::kString;
  std::string doc;  // one sentence
  bool required = false;
  std::string default_value = {};         // JSON text ("4", "\"auto\"", "true", "[]"); "" = none (absent stays absent)
  std::vector<std::string> choices = {};  // kEnum; for kInt the allowed values, if not any
  std::optional<double> minimum = {}, maximum = {};  // kInt, kNumber: inclusive
  std::vector<Field> fields = {};                    // kObjectList: of each element
  bool in_key = true;  // false: says how to work, not what comes of it; the same result serves every value
};

struct StageInfo {
  std::string name;  // what `uses:` says
  int version = 1;   // part of the cache key: raise it when results change
  std::string doc;
  std::vector<std::string> inputs =
      {};                          // stage names whose artifacts it reads; resolved through `needs`, also indirectly
  std::vector<Field> fields = {};  // of `with:`
  std::vector<std::string> one_of = {};  // lists of which at least one must be given, and not empty
};

std::span<const StageInfo> all_stages();             // that `uses:` may name, in pipeline order
const StageInfo* find_stage(std::string_view name);  // of all_stages(), or kPartStage; null if unknown

// A part of a quantize stage with `parallelism: blocks`: made by the spec, never named in a file.
inline constexpr char kPartStage[] = "quantize-part";
inline constexpr int kMaxParts = 256;
// The name under which the joining stage has its part number 1, 2, ... among its inputs; in order.
std::string part_input(int number);
bool is_part_input(std::string_view input);

}  // namespace gridquant::stages
