// Fields of config.json. Not here: which of them an architecture has (arch/).
#include "engine/model/config_fields.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace gridquant::model {
namespace {

using nlohmann::json;

void read_heads(ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config) {
  config.head_count = fields.positive("num_attention_heads", 0);
  config.kv_head_count =
      fields.positive("num_key_value_heads", defaults.kv_heads > 0 ? defaults.kv_heads : config.head_count);
  if (!fields.status().ok()) return;
  const bool divides = config.hidden_size % config.head_count == 0;
  if (!divides && defaults.head_dim == 0 && fields.find("head_dim") == nullptr) {
    fields.fail("hidden_size", absl::StrCat("is ", config.hidden_size, ", not a multiple of num_attention_heads (",
                                            config.head_count, "), and there is no \"head_dim\""));
    return;
  }
  const int64_t from_width = divides ? config.hidden_size / config.head_count : 1;
  config.head_dim = fields.positive("head_dim", defaults.head_dim > 0 ? defaults.head_dim : from_width);
  if (config.head_dim % 2 != 0) {
    fields.fail("head_dim", absl::StrCat("is ", config.head_dim, ": rotary embeddings need an even number"));
  }
  if (config.head_count % config.kv_head_count != 0) {
    fields.fail("num_key_value_heads", absl::StrCat("is ", config.kv_head_count, ", which does not divide the ",
                                                    config.head_count, " of num_attention_heads"));
  }
}

}  // namespace

ConfigFields::ConfigFields(const json& object, const std::string& path, std::string prefix)
    : object_(object), path_(path), prefix_(std::move(prefix)) {}

const json* ConfigFields::find(const std::string& name) const {
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

int64_t ConfigFields::positive(const std::string& name, int64_t fallback) {
  const json* value = find(name);
  if (value == nullptr) {
    if (fallback == 0) fail(name, "is missing: the model folder's config.json must give it");
    return fallback == 0 ? 1 : fallback;
  }
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();
  const bool fits = value->is_number_integer() && *value >= 1 && *value <= kLargest;
  if (!fits) {
    fail(name, absl::StrCat("is ", value->dump(), ", not a whole number from 1 to ", kLargest));
    return 1;
  }
  return value->get<int64_t>();
}

double ConfigFields::number(const std::string& name, double fallback) {
  const json* value = find(name);
  if (value == nullptr) return fallback;
  const bool fits = value->is_number() && value->get<double>() > 0 && value->get<double>() < 1e30;
  if (!fits) {
    fail(name, absl::StrCat("is ", value->dump(), ", not a positive number"));
    return fallback;
  }
  return value->get<double>();
}

bool ConfigFields::flag(const std::string& name, bool fallback) {
  const json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    fail(name, absl::StrCat("is ", value->dump(), ", not true or false"));
    return fallback;
  }
  return value->get<bool>();
}

std::string ConfigFields::text(const std::string& name, const std::string& fallback) {
  const json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    fail(name, absl::StrCat("is ", value->dump(), ", not a string"));
    return fallback;
  }
  return value->get<std::string>();
}

void ConfigFields::fail(const std::string& name, const std::string& what) {
  status_.Update(absl::InvalidArgumentError(absl::StrCat(path_, ": \"", prefix_, name, "\" ", what)));
}

void ConfigFields::refuse(const std::string& name, const std::string& what) {
  status_.Update(absl::UnimplementedError(absl::StrCat(path_, ": \"", prefix_, name, "\" ", what)));
}

void read_decoder_fields(ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config) {
  config.model_type = fields.text("model_type", "");
  config.hidden_size = fields.positive("hidden_size", 0);
  config.intermediate_size = fields.positive("intermediate_size", 0);
  config.block_count = fields.positive("num_hidden_layers", 0);
  config.vocab_size = fields.positive("vocab_size", 0);
  config.max_positions = fields.positive("max_position_embeddings", defaults.max_positions);
  config.rms_norm_eps = static_cast<float>(fields.number("rms_norm_eps", defaults.rms_norm_eps));
  config.tied_embeddings = fields.flag("tie_word_embeddings", defaults.tied_embeddings);
  read_heads(fields, defaults, config);
}

void read_rope(ConfigFields& top, ModelConfig& config) {
  config.rope_theta = top.number("rope_theta", config.rope_theta);
  if (top.number("partial_rotary_factor", 1.0) != 1.0) {
    top.refuse("partial_rotary_factor", "other than 1 is not supported by this build");
  }
  for (const std::string name : {"rope_scaling", "rope_parameters"}) {
    const json* object = top.find(name);
    if (object == nullptr) continue;
    if (!object->is_object()) {
      top.fail(name, "is not an object");
      return;
    }
    ConfigFields fields(*object, top.path(), name + ".");
    const std::string type = fields.text("rope_type", fields.text("type", "default"));
    if (type != "default") {
      fields.refuse("rope_type", absl::StrCat("is \"", type, "\": this build computes only unscaled rotary embeddings ",
                                              "(\"default\" or null)"));
    }
    config.rope_theta = fields.number("rope_theta", config.rope_theta);
    top.update(fields.status());
  }
}

constexpr int64_t kMaxExperts = 4096;  // far more than any model has; their table must fit into memory

void read_experts(ConfigFields& fields, const ExpertDefaults& defaults, ModelConfig& config) {
  const char* name = fields.find("num_local_experts") != nullptr ? "num_local_experts" : "num_experts";
  config.expert_count = fields.positive(name, defaults.experts);
  config.experts_per_token = fields.positive("num_experts_per_tok", defaults.per_token);
  if (config.expert_count > kMaxExperts) {
    fields.fail(name, absl::StrCat("is ", config.expert_count, ", more than ", kMaxExperts));
    config.expert_count = config.experts_per_token = 1;
  }
  if (config.experts_per_token <= config.expert_count) return;
  fields.fail("num_experts_per_tok",
              absl::StrCat("is ", config.experts_per_token, ", more than the ", config.expert_count, " of ", name));
  config.experts_per_token = config.expert_count;
}

void require_activation(ConfigFields& fields, const std::string& name, const std::string& only) {
  const std::string activation = fields.text(name, only);
  if (activation == only) return;
  fields.refuse(name, absl::StrCat("is \"", activation, "\": this build computes only \"", only, "\""));
}

}  // namespace gridquant::model
