// Fields of config.json. Not here: which of them an architecture has (arch/).
#include "engine/model/config_fields.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace gridquant::model {
namespace {

constexpr int64_t kLargestBlockCount = 10'000;  // far beyond any model: what tables per block may cost

using nlohmann::json;

// For messages, which a list of a million numbers would make unreadable.
std::string shown(const json& value) {
  constexpr size_t kMost = 60;
  if (value.is_array()) return absl::StrCat("a list of ", value.size());
  if (value.is_object()) return "an object";
  std::string text = value.dump();
  if (text.size() <= kMost) return text;
  size_t end = kMost;
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // whole characters of UTF-8
  return text.substr(0, end) + "...";
}

void read_heads(ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config) {
  config.head_count = fields.positive("num_attention_heads", defaults.heads);
  config.kv_head_count = fields.positive_or_none("num_key_value_heads", defaults.kv_heads);
  if (config.kv_head_count == 0) config.kv_head_count = config.head_count;
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
    fail(name, absl::StrCat("is ", shown(*value), ", not a whole number from 1 to ", kLargest));
    return 1;
  }
  return value->get<int64_t>();
}

double ConfigFields::number(const std::string& name, double fallback) {
  const json* value = find(name);
  if (value == nullptr) return fallback;
  const bool fits = value->is_number() && value->get<double>() > 0 && value->get<double>() < 1e30;
  if (!fits) {
    fail(name, absl::StrCat("is ", shown(*value), ", not a positive number"));
    return fallback;
  }
  return value->get<double>();
}

double ConfigFields::not_negative(const std::string& name, double fallback) {
  const json* value = find(name);
  return value != nullptr && *value == 0 ? 0 : number(name, fallback);
}

bool ConfigFields::flag(const std::string& name, bool fallback) {
  const json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    fail(name, absl::StrCat("is ", shown(*value), ", not true or false"));
    return fallback;
  }
  return value->get<bool>();
}

std::string ConfigFields::text(const std::string& name, const std::string& fallback) {
  const json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    fail(name, absl::StrCat("is ", shown(*value), ", not a string"));
    return fallback;
  }
  return value->get<std::string>();
}

std::vector<float> ConfigFields::numbers(const std::string& name, size_t count) {
  const json* value = find(name);
  const auto is_positive = [](const json& v) { return v.is_number() && v.get<double>() > 0 && v.get<double>() < 1e30; };
  const bool fits = value != nullptr && value->is_array() && value->size() == count &&
                    std::all_of(value->begin(), value->end(), is_positive);
  if (!fits) {
    const std::string given = value == nullptr                              ? "missing"
                              : value->is_array() && value->size() != count ? absl::StrCat("a list of ", value->size())
                                                                            : "something else";
    fail(name, absl::StrCat("must be a list of ", count,
                            " positive numbers, one for each pair of rotated elements; it is ", given));
    return std::vector<float>(count, 1.0f);
  }
  std::vector<float> result;
  for (const json& v : *value) result.push_back(static_cast<float>(v.get<double>()));
  return result;
}

bool ConfigFields::is_null(const std::string& name) const {
  const auto it = object_.find(name);
  return it != object_.end() && it->is_null();
}

int64_t ConfigFields::positive_or_none(const std::string& name, int64_t fallback) {
  if (is_null(name) || find(name) == nullptr) return is_null(name) ? 0 : fallback;
  return positive(name, 1);
}

double ConfigFields::number_or_none(const std::string& name, double fallback) {
  if (is_null(name) || find(name) == nullptr) return is_null(name) ? 0 : fallback;
  return number(name, 1);
}

void ConfigFields::fail(const std::string& name, const std::string& what) {
  status_.Update(absl::InvalidArgumentError(absl::StrCat(path_, ": \"", prefix_, name, "\" ", what)));
}

void ConfigFields::refuse(const std::string& name, const std::string& what) {
  status_.Update(absl::UnimplementedError(absl::StrCat(path_, ": \"", prefix_, name, "\" ", what)));
}

void read_decoder_fields(ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config) {
  config.model_type = fields.text("model_type", "");
  config.hidden_size = fields.positive("hidden_size", defaults.hidden_size);
  config.intermediate_size = fields.positive("intermediate_size", defaults.intermediate_size);
  config.block_count = fields.positive("num_hidden_layers", defaults.block_count);
  if (config.block_count > kLargestBlockCount) {
    fields.fail("num_hidden_layers", absl::StrCat("is ", config.block_count, ", more than ", kLargestBlockCount));
    config.block_count = 1;  // tables are made per block, also of a configuration that will be refused
  }
  config.vocab_size = fields.positive("vocab_size", defaults.vocab_size);
  config.max_positions = fields.positive("max_position_embeddings", defaults.max_positions);
  config.rms_norm_eps = static_cast<float>(fields.number("rms_norm_eps", defaults.rms_norm_eps));
  config.tied_embeddings = fields.flag("tie_word_embeddings", defaults.tied_embeddings);
  read_heads(fields, defaults, config);
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

void refuse_flag(ConfigFields& fields, const std::string& name) {
  if (fields.flag(name, false)) fields.refuse(name, "is true: this build does not compute that");
}

bool read_layer_types(ConfigFields& fields, int64_t window, ModelConfig& config) {
  const json* types = fields.find("layer_types");
  if (types == nullptr) return false;
  if (!types->is_array() || static_cast<int64_t>(types->size()) != config.block_count) {
    fields.fail("layer_types", absl::StrCat("must be a list with one entry for each of the ", config.block_count,
                                            " blocks (num_hidden_layers)"));
    return true;
  }
  std::vector<int64_t> windows;
  for (const json& type : *types) {
    const bool slides = type == "sliding_attention";
    if (!slides && type != "full_attention") {
      fields.refuse("layer_types", absl::StrCat("has ", shown(type),
                                                ": this build computes \"full_attention\" and \"sliding_attention\""));
    }
    if (slides && window == 0) fields.fail("layer_types", "has \"sliding_attention\", but there is no sliding window");
    windows.push_back(slides ? window : 0);
  }
  config.windows = std::move(windows);
  return true;
}

void set_window_pattern(ConfigFields& fields, int64_t window, int64_t pattern, ModelConfig& config) {
  if (window == 0) fields.fail("sliding_window", "is null: the blocks that have a window need its length");
  config.windows.clear();
  for (int64_t b = 0; b < config.block_count; ++b) config.windows.push_back((b + 1) % pattern == 0 ? 0 : window);
}

void read_optional_windows(ConfigFields& fields, ModelConfig& config) {
  const bool used = fields.flag("use_sliding_window", false);
  const int64_t window = used ? fields.positive_or_none("sliding_window", 4096) : 0;
  const double first = fields.not_negative("max_window_layers", 28);
  if (read_layer_types(fields, window, config) || window == 0) return;
  for (int64_t b = 0; b < config.block_count; ++b)
    config.windows.push_back(static_cast<double>(b) >= first ? window : 0);
}

}  // namespace gridquant::model
