// The pipeline file as tables: every key outside of `with:`, in the same terms as the stage catalog's fields. The
// validator (check.h) and the JSON Schema (schema.cc) both read these tables; nothing else says what a key may be.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "stages/catalog/catalog.h"

namespace gridquant::spec {

enum class Shape {
  kString,
  kName,  // a DNS-1123 label
  kInt,
  kNumber,
  kBool,
  kPath,
  kDuration,    // read_duration
  kSize,        // read_size
  kScalar,      // any of text, number, boolean
  kCondition,   // an expression of boolean value, or true / false
  kScalarList,  // not empty
  kStringList,
  kNeeds,       // one name or a list of names
  kChoiceList,  // list of `choices`
  kObject,      // `fields`
  kObjectList,  // list of objects with `fields`
  kMap,         // any keys after `keys`, values as fields[0]
  kWith,        // as the catalog says for `uses`
};

enum class KeyRule { kAny, kDnsLabel, kIdentifier };

struct FormatField {
  std::string name;
  Shape shape = Shape::kString;
  std::string doc = {};
  bool required = false;
  std::string default_value = {};  // JSON text, for the schema; "" = none
  // Of a kString, kInt or kNumber, or of kChoiceList's elements; of a kObject: words that may stand for it.
  std::vector<std::string> choices = {};
  std::optional<double> minimum = {}, maximum = {};  // kInt, kNumber; kDuration in ms, kSize in bytes
  std::vector<FormatField> fields = {};
  std::vector<std::string> one_of = {};  // kObject: lists of which at least one must be given, and not empty
  KeyRule keys = KeyRule::kAny;
  std::vector<std::string> refused = {};  // kMap: keys that other tools have and this format has not
  std::string refused_hint = {};
};

inline constexpr int kMaxRanks = 4096;  // of a gang
inline constexpr int kMaxGpusPerRank = 16;
inline constexpr int kDefaultParts = 4;  // of `parallelism: blocks`
inline constexpr char kApiVersion[] = "gridquant/v1";
inline constexpr char kKind[] = "Pipeline";
inline constexpr char kBatchKind[] = "Batch";

const FormatField& pipeline_format();  // the whole document
const FormatField& batch_format();     // likewise, of kind: Batch
const FormatField& stage_format();     // of one stage: the values of spec.stages
const FormatField* find_field(const FormatField& object, std::string_view name);

// A stage's `with:` as an object of the same terms.
FormatField with_format(const stages::StageInfo& stage);

}  // namespace gridquant::spec
