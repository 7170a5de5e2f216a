// config.json -> ModelConfig. Refuses what the forward pass would not compute exactly, rather than computing something
// near it. Not for tokenizers or generation settings.
#include "engine/model/config.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/model/architecture.h"

namespace gridquant::model {
namespace {

using nlohmann::json;

// Reads fields of one JSON object; keeps the first error.
class Fields {
 public:
  Fields(const json& object, const std::string& path, std::string prefix = "")
      : object_(object), path_(path), prefix_(std::move(prefix)) {}

  // Null and absent are the same.
  const json* find(const std::string& name) const {
    const auto it = object_.find(name);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  // A whole number in [1, 2^31); `fallback` 0 means that the field is required.
  int64_t positive(const std::string& name, int64_t fallback) {
    const json* value = find(name);
    if (value == nullptr) {
      if (fallback == 0) fail(name, "is missing: the model folder's config.json must give it");
      return fallback;
    }
    constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();
    const bool fits = value->is_number_integer() && *value >= 1 && *value <= kLargest;
    if (!fits) {
      fail(name, absl::StrCat("is ", value->dump(), ", not a whole number from 1 to ", kLargest));
      return 1;
    }
    return value->get<int64_t>();
  }

  double number(const std::string& name, double fallback) {
    const json* value = find(name);
    if (value == nullptr) return fallback;
    const bool fits = value->is_number() && value->get<double>() > 0 && value->get<double>() < 1e30;
    if (!fits) {
      fail(name, absl::StrCat("is ", value->dump(), ", not a positive number"));
      return fallback;
    }
    return value->get<double>();
  }

  bool flag(const std::string& name, bool fallback) {
    const json* value = find(name);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) {
      fail(name, absl::StrCat("is ", value->dump(), ", not true or false"));
      return fallback;
    }
    return value->get<bool>();
  }

  std::string text(const std::string& name, const std::string& fallback) {
    const json* value = find(name);
    if (value == nullptr) return fallback;
    if (!value->is_string()) {
      fail(name, absl::StrCat("is ", value->dump(), ", not a string"));
      return fallback;
    }
    return value->get<std::string>();
  }

  void fail(const std::string& name, const std::string& what) {
    status_.Update(absl::InvalidArgumentError(absl::StrCat(path_, ": \"", prefix_, name, "\" ", what)));
  }
  void refuse(const std::string& name, const std::string& what) {
    status_.Update(absl::UnimplementedError(absl::StrCat(path_, ": \"", prefix_, name, "\" ", what)));
  }
  const Status& status() const { return status_; }

 private:
  const json& object_;
  const std::string& path_;
  std::string prefix_;
  Status status_;
};

// The kind of rotary embedding and its base. Transformers 4 writes "rope_theta" and "rope_scaling", transformers 5
// writes "rope_parameters" with both.
Status read_rope(const json& root, const std::string& path, ModelConfig& config) {
  Fields top(root, path);
  config.rope_theta = top.number("rope_theta", config.rope_theta);
  if (top.number("partial_rotary_factor", 1.0) != 1.0) {
    top.refuse("partial_rotary_factor", "other than 1 is not supported by this build");
  }
  GQ_RETURN_IF_ERROR(top.status());
  for (const std::string name : {"rope_scaling", "rope_parameters"}) {
    const json* object = top.find(name);
    if (object == nullptr) continue;
    if (!object->is_object()) {
      top.fail(name, "is not an object");
      return top.status();
    }
    Fields fields(*object, path, name + ".");
    const std::string type = fields.text("rope_type", fields.text("type", "default"));
    if (type != "default") {
      fields.refuse("rope_type", absl::StrCat("is \"", type, "\": this build computes only unscaled rotary embeddings ",
                                              "(\"default\" or null)"));
    }
    config.rope_theta = fields.number("rope_theta", config.rope_theta);
    GQ_RETURN_IF_ERROR(fields.status());
  }
  return absl::OkStatus();
}

Status read_architecture(const json& root, const std::string& path, ModelConfig& config) {
  const std::string known = absl::StrJoin(known_architectures(), ", ");
  const auto it = root.find("architectures");
  const bool is_list = it != root.end() && it->is_array() && !it->empty() && it->front().is_string();
  if (!is_list) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": \"architectures\" must be a list with the model's class name; known: ", known));
  }
  config.architecture = it->front().get<std::string>();
  for (const std::string& name : known_architectures()) {
    if (name == config.architecture) return absl::OkStatus();
  }
  return absl::UnimplementedError(absl::StrCat(path, ": architecture \"", config.architecture,
                                               "\" is not supported by this build; it knows: ", known));
}

void read_heads(Fields& fields, ModelConfig& config) {
  config.head_count = fields.positive("num_attention_heads", 0);
  config.kv_head_count = fields.positive("num_key_value_heads", config.head_count);
  if (!fields.status().ok()) return;
  const bool divides = config.hidden_size % config.head_count == 0;
  if (!divides && fields.find("head_dim") == nullptr) {
    fields.fail("hidden_size", absl::StrCat("is ", config.hidden_size, ", not a multiple of num_attention_heads (",
                                            config.head_count, "), and there is no \"head_dim\""));
    return;
  }
  config.head_dim = fields.positive("head_dim", divides ? config.hidden_size / config.head_count : 1);
  if (config.head_dim % 2 != 0) {
    fields.fail("head_dim", absl::StrCat("is ", config.head_dim, ": rotary embeddings need an even number"));
  }
  if (config.head_count % config.kv_head_count != 0) {
    fields.fail("num_key_value_heads", absl::StrCat("is ", config.kv_head_count, ", which does not divide the ",
                                                    config.head_count, " of num_attention_heads"));
  }
}

Status read_fields(const json& root, const std::string& path, ModelConfig& config) {
  Fields fields(root, path);
  config.model_type = fields.text("model_type", "");
  config.hidden_size = fields.positive("hidden_size", 0);
  config.intermediate_size = fields.positive("intermediate_size", 0);
  config.block_count = fields.positive("num_hidden_layers", 0);
  config.vocab_size = fields.positive("vocab_size", 0);
  config.max_positions = fields.positive("max_position_embeddings", 2048);
  config.rms_norm_eps = static_cast<float>(fields.number("rms_norm_eps", 1e-6));
  config.tied_embeddings = fields.flag("tie_word_embeddings", false);
  config.attention_bias = fields.flag("attention_bias", false);
  config.mlp_bias = fields.flag("mlp_bias", false);
  read_heads(fields, config);
  const std::string activation = fields.text("hidden_act", "silu");
  if (activation != "silu") {
    fields.refuse("hidden_act", absl::StrCat("is \"", activation, "\": this build computes only \"silu\""));
  }
  return fields.status();
}

}  // namespace

StatusOr<ModelConfig> parse_model_config(std::string_view json_text, const std::string& path) {
  const json root = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a JSON object; is this a Hugging Face model folder?"));
  }
  ModelConfig config;
  GQ_RETURN_IF_ERROR(read_architecture(root, path, config));
  const auto quantized = root.find("quantization_config");
  if (quantized != root.end() && !quantized->is_null()) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": has \"quantization_config\": the model is already quantized; give the unquantized model's folder"));
  }
  GQ_RETURN_IF_ERROR(read_fields(root, path, config));
  GQ_RETURN_IF_ERROR(read_rope(root, path, config));
  return config;
}

}  // namespace gridquant::model
