#include "engine/formats/text_part.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"

namespace gridquant::formats {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr char kWrapper[] = "Gemma3ForConditionalGeneration";
constexpr char kTextModel[] = "Gemma3ForCausalLM";
// The first prefix that fits is replaced.
constexpr std::pair<std::string_view, std::string_view> kPrefixes[] = {
    {"language_model.model.", "model."},
    {"language_model.lm_head.", "lm_head."},
    {"model.language_model.", "model."},
};

std::string text_name(const std::string& name) {
  for (const auto& [from, to] : kPrefixes) {
    if (name.starts_with(from)) return std::string(to) + name.substr(from.size());
  }
  return name;
}

class RenamedTensors : public TensorDecorator {
 public:
  // `stored`: the container's name by ours.
  RenamedTensors(std::shared_ptr<const TensorSource> inner, std::map<std::string, std::string> stored)
      : TensorDecorator(std::move(inner)), stored_(std::move(stored)) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, _] : stored_) names.push_back(name);
    return names;
  }
  const TensorEntry* find(const std::string& name) const override {
    const auto it = stored_.find(name);
    return it == stored_.end() ? nullptr : inner().find(it->second);
  }
  StatusOr<tensor::Tensor> read(const std::string& name) const override { return inner().read(stored(name)); }
  StatusOr<tensor::Tensor> read_f32(const std::string& name, const tensor::Shape& shape) const override {
    return inner().read_f32(stored(name), shape);
  }
  StatusOr<tensor::Tensor> read_weight(const std::string& name, const tensor::Shape& shape) const override {
    return inner().read_weight(stored(name), shape);
  }
  StatusOr<std::unique_ptr<RowReader>> rows(const std::string& name) const override {
    return inner().rows(stored(name));
  }

 private:
  // A name that is not there is asked for as it is: the container says so.
  const std::string& stored(const std::string& name) const {
    const auto it = stored_.find(name);
    return it == stored_.end() ? name : it->second;
  }

  std::map<std::string, std::string> stored_;
};

// What the wrapper says for the whole model: its tying counts, the rest where the text model says nothing itself.
void take_from_wrapper(const ordered_json& wrapper, ordered_json& text) {
  if (wrapper.contains("tie_word_embeddings")) text["tie_word_embeddings"] = wrapper["tie_word_embeddings"];
  for (const char* name : {"bos_token_id", "eos_token_id", "pad_token_id", "dtype", "torch_dtype",
                           "transformers_version", "quantization_config"}) {
    if (!text.contains(name) && wrapper.contains(name)) text[name] = wrapper[name];
  }
}

StatusOr<std::string> text_config(const TextFiles& texts) {
  const std::string path = texts.path_of(kConfigFile);
  GQ_ASSIGN_OR_RETURN(const std::string written, texts.read(kConfigFile));
  GQ_ASSIGN_OR_RETURN(const auto wrapper, parse_json_object<ordered_json>(written, path, JsonLimits{}));
  const auto it = wrapper.find("text_config");
  if (it == wrapper.end() || !it->is_object()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": a ", kWrapper, " must have an object \"text_config\"; get the file again"));
  }
  ordered_json text = {{"architectures", {kTextModel}}};
  text.update(*it);
  text["architectures"] = {kTextModel};
  take_from_wrapper(wrapper, text);
  return text.dump(2) + "\n";
}

}  // namespace

bool has_text_part(const json& config) {
  const auto it = config.find("architectures");
  return it != config.end() && it->is_array() && !it->empty() && it->front() == kWrapper;
}

StatusOr<Source> text_part_of(Source source) {
  GQ_ASSIGN_OR_RETURN(std::string config, text_config(*source.texts));
  std::map<std::string, std::string> stored;
  for (const std::string& name : source.tensors->names()) {
    const auto [it, is_new] = stored.emplace(text_name(name), name);
    if (!is_new) {
      return absl::FailedPreconditionError(absl::StrCat(source.path, ": tensors ", it->second, " and ", name,
                                                        " are both the text model's ", it->first));
    }
  }
  source.texts = with_config(std::move(source.texts), std::move(config));
  source.tensors = std::make_shared<RenamedTensors>(std::move(source.tensors), std::move(stored));
  return source;
}

}  // namespace gridquant::formats
