// Fields of the rotary embedding. Not here: what is computed with them (rope_frequencies.h).
#include "engine/model/rope_fields.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/model/rope_frequencies.h"

namespace gridquant::model {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<const char*, RopeScaling>, 6> kScalings = {{
    {"default", RopeScaling::kNone},
    {"linear", RopeScaling::kLinear},
    {"dynamic", RopeScaling::kDynamic},
    {"yarn", RopeScaling::kYarn},
    {"longrope", RopeScaling::kLongRope},
    {"llama3", RopeScaling::kLlama3},
}};

RopeScaling read_scaling(ConfigFields& fields) {
  const std::string name = fields.find("rope_type") != nullptr ? "rope_type" : "type";
  const std::string type = fields.text(name, "default");
  std::vector<std::string> known;
  for (const auto& [text, scaling] : kScalings) {
    if (type == text) return scaling;
    known.emplace_back(text);
  }
  fields.refuse("rope_type", absl::StrCat("is \"", type, "\": this build computes ", absl::StrJoin(known, ", ")));
  return RopeScaling::kNone;
}

double yarn_magnitude(double factor, double slope) {
  return factor <= 1 ? 1.0 : 0.1 * slope * std::log(factor) + 1.0;
}

void read_yarn(ConfigFields& fields, RopeConfig& rope) {
  rope.beta_fast = fields.number("beta_fast", 32.0);
  rope.beta_slow = fields.number("beta_slow", 1.0);
  rope.truncate = fields.flag("truncate", true);
  if (rope.theta <= 1.0) fields.fail("rope_theta", absl::StrCat("is ", rope.theta, ": YaRN needs more than 1"));
  const double mscale = fields.not_negative("mscale", 0);
  const double mscale_all_dim = fields.not_negative("mscale_all_dim", 0);
  const double computed = mscale > 0 && mscale_all_dim > 0
                              ? yarn_magnitude(rope.factor, mscale) / yarn_magnitude(rope.factor, mscale_all_dim)
                              : yarn_magnitude(rope.factor, 1.0);
  rope.magnitude = fields.number("attention_factor", computed);
}

void read_longrope(ConfigFields& fields, const ModelConfig& config, RopeConfig& rope) {
  const auto pairs = static_cast<size_t>(rotated_elements(rope, config.head_dim) / 2);
  rope.short_factors = fields.numbers("short_factor", pairs);
  rope.long_factors = fields.numbers("long_factor", pairs);
  const double original = static_cast<double>(std::max<int64_t>(rope.original_positions, 2));
  const double computed = rope.factor <= 1 ? 1.0 : std::sqrt(1 + std::log(rope.factor) / std::log(original));
  rope.magnitude = fields.number("attention_factor", computed);
}

void read_llama3(ConfigFields& fields, RopeConfig& rope) {
  for (const std::string name : {"factor", "low_freq_factor", "high_freq_factor"}) {
    if (fields.find(name) == nullptr) fields.fail(name, "is missing: rope_type \"llama3\" needs it");
  }
  rope.low_freq_factor = fields.number("low_freq_factor", 1.0);
  rope.high_freq_factor = fields.number("high_freq_factor", 4.0);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    fields.fail("high_freq_factor",
                absl::StrCat("is ", rope.high_freq_factor, ", not above low_freq_factor (", rope.low_freq_factor, ")"));
  }
}

}  // namespace

RopeConfig read_rope_object(ConfigFields& fields, const RopeDefaults& defaults, const ModelConfig& config) {
  RopeConfig rope;
  rope.scaling = read_scaling(fields);
  rope.theta = fields.number("rope_theta", defaults.theta);
  rope.rotated_share = fields.number("partial_rotary_factor", defaults.rotated_share);
  if (rope.scaling == RopeScaling::kNone || !fields.status().ok()) return rope;
  const bool keeps_original = rope.scaling != RopeScaling::kDynamic && rope.scaling != RopeScaling::kLinear;
  rope.original_positions = config.max_positions;
  if (keeps_original) {
    const int64_t inside = fields.positive("original_max_position_embeddings", config.max_positions);
    rope.original_positions = defaults.original_positions > 0 ? defaults.original_positions : inside;
  }
  const bool may_follow = rope.scaling == RopeScaling::kYarn || rope.scaling == RopeScaling::kLongRope;
  if (fields.find("factor") == nullptr && !may_follow) {
    fields.fail("factor", "is missing: this rope_type needs it");
  }
  rope.factor =
      fields.number("factor", static_cast<double>(config.max_positions) / static_cast<double>(rope.original_positions));
  switch (rope.scaling) {
    case RopeScaling::kYarn:
      read_yarn(fields, rope);
      break;
    case RopeScaling::kLongRope:
      read_longrope(fields, config, rope);
      break;
    case RopeScaling::kLlama3:
      read_llama3(fields, rope);
      break;
    case RopeScaling::kDynamic:
      if (rotated_elements(rope, config.head_dim) <= 2) fields.fail("rope_type", "\"dynamic\" needs wider heads");
      break;
    default:
      break;
  }
  return rope;
}

void read_rope(ConfigFields& top, ModelConfig& config, double default_theta) {
  RopeDefaults defaults;
  defaults.theta = top.number("rope_theta", default_theta);
  defaults.original_positions = top.positive_or_none("original_max_position_embeddings", 0);
  RopeConfig& rope = config.ropes.front();
  rope.theta = defaults.theta;
  if (top.number("partial_rotary_factor", 1.0) != 1.0) {
    top.refuse("partial_rotary_factor", "other than 1 is not supported for this architecture");
  }
  for (const std::string name : {"rope_scaling", "rope_parameters"}) {
    const json* object = top.find(name);
    if (object == nullptr || (object->is_object() && object->empty())) continue;
    if (!object->is_object()) {
      top.fail(name, "is not an object");
      return;
    }
    ConfigFields fields(*object, top.path(), name + ".");
    if (object->contains("full_attention") || object->contains("sliding_attention")) {
      top.refuse(name, "differs by kind of attention: not supported for this architecture");
    }
    rope = read_rope_object(fields, defaults, config);
    if (rope.rotated_share != 1.0) {
      fields.refuse("partial_rotary_factor", "other than 1 is not supported for this architecture");
    }
    top.update(fields.status());
    return;  // transformers prefers rope_scaling, too
  }
}

void check_rotated(ConfigFields& fields, const std::string& name, const RopeConfig& rope, const ModelConfig& config) {
  const int64_t rotated = rotated_elements(rope, config.head_dim);
  if (rotated >= 2 && rotated % 2 == 0 && rotated <= config.head_dim) return;
  fields.fail(name, absl::StrCat("of ", rope.rotated_share, " rotates ", rotated, " of a head's ", config.head_dim,
                                 " elements, not an even number from 2 to ", config.head_dim));
}

}  // namespace gridquant::model
