// config.json -> ModelConfig. Refuses what the forward pass would not compute exactly, rather than computing something
// near it. Not for tokenizers or generation settings.
#include "engine/model/config.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/model/architecture.h"
#include "engine/model/config_fields.h"

namespace gridquant::model {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;

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

}  // namespace

StatusOr<ModelConfig> parse_model_config(std::string_view json_text, const std::string& path) {
  bool too_deep = false;
  // Values are copied and printed by functions that call themselves once per level.
  const auto keep = [&](int depth, json::parse_event_t, const json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return depth <= kMaxDepth;
  };
  const json root = json::parse(json_text, keep, /*allow_exceptions=*/false);
  if (too_deep) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": nested deeper than ", kMaxDepth, " levels"));
  }
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
  ConfigFields fields(root, path);
  architecture_of(config).read_config(fields, config);
  GQ_RETURN_IF_ERROR(fields.status());
  return config;
}

}  // namespace gridquant::model
