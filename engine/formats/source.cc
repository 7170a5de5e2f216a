// Sources by what lies at their path. Not here: the containers themselves.
#include "engine/formats/source.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/fp8.h"
#include "engine/formats/gguf/gguf.h"
#include "engine/formats/json.h"
#include "engine/formats/text_part.h"

namespace gridquant::formats {
namespace {


// Files of a model that a loader of the result needs too.
bool is_companion(const std::string& name) {
  static constexpr std::string_view kPrefixes[] = {"tokenizer", "chat_template", "special_tokens_map", "added_tokens",
                                                   "vocab"};
  static constexpr std::string_view kNames[] = {"generation_config.json", "merges.txt"};
  if (name.ends_with(".tmp")) return false;
  return std::any_of(std::begin(kPrefixes), std::end(kPrefixes),
                     [&](auto prefix) { return name.starts_with(prefix); }) ||
         std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) || name.ends_with(".model");
}

class FolderTexts : public TextFiles {
 public:
  FolderTexts(base::Env& env, std::string folder) : env_(env), folder_(std::move(folder)) {}

  StatusOr<std::vector<std::string>> names() const override {
    GQ_ASSIGN_OR_RETURN(const auto all, env_.list(folder_));
    std::vector<std::string> kept;
    for (const std::string& name : all) {
      if ((name == kConfigFile || is_companion(name)) && !env_.is_folder(path_of(name))) kept.push_back(name);
    }
    return kept;
  }
  StatusOr<std::string> read(const std::string& name) const override { return base::read_file(env_, path_of(name)); }
  std::string path_of(const std::string& name) const override { return base::join_path(folder_, name); }

 private:
  base::Env& env_;
  std::string folder_;
};

class TextsWithConfig : public TextFiles {
 public:
  TextsWithConfig(std::shared_ptr<const TextFiles> inner, std::string config)
      : inner_(std::move(inner)), config_(std::move(config)) {}
  StatusOr<std::vector<std::string>> names() const override { return inner_->names(); }
  StatusOr<std::string> read(const std::string& name) const override {
    if (name == kConfigFile) return config_;
    return inner_->read(name);
  }
  std::string path_of(const std::string& name) const override { return inner_->path_of(name); }

 private:
  std::shared_ptr<const TextFiles> inner_;
  std::string config_;
};

// Null where there is none, or it cannot be read: who parses it says so.
nlohmann::json config_of(const TextFiles& texts) {
  const auto text = texts.read(kConfigFile);
  if (!text.ok()) return nullptr;
  return parse_json_object<nlohmann::json>(*text, texts.path_of(kConfigFile), {}).value_or(nullptr);
}

std::string model_type_of(const nlohmann::json& config) {
  const auto type = config.find("model_type");
  return type != config.end() && type->is_string() ? type->get<std::string>() : "";
}

StatusOr<Source> open_folder(base::Env& env, const std::string& folder) {
  GQ_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::open(env, folder));
  Source source;
  source.path = folder;
  source.texts = folder_texts(env, folder);
  nlohmann::json config = config_of(*source.texts);
  checkpoint.split_experts(expert_names(model_type_of(config)));
  const bool has_json = env.exists(base::join_path(folder, "tokenizer.json"));
  for (const char* name : {kConfigFile, has_json ? "tokenizer.json" : "tokenizer.model"}) {
    const std::string path = base::join_path(folder, name);
    if (env.exists(path)) source.files.push_back(path);  // no tokenizer: calibrate says so
  }
  for (const std::string& name : checkpoint.files()) source.files.push_back(base::join_path(folder, name));
  source.tensors = std::make_shared<Checkpoint>(std::move(checkpoint));
  if (has_text_part(config)) {
    GQ_ASSIGN_OR_RETURN(source, text_part_of(std::move(source)));
    config = config_of(*source.texts);
  }
  if (is_fp8(config)) return dequantize_fp8(std::move(source), config);
  return source;
}

}  // namespace

StatusOr<std::unique_ptr<RowReader>> TensorSource::rows(const std::string& name) const {
  GQ_ASSIGN_OR_RETURN(tensor::Tensor whole, read(name));
  return rows_of(std::move(whole));
}

std::shared_ptr<const TextFiles> folder_texts(base::Env& env, const std::string& folder) {
  return std::make_shared<FolderTexts>(env, folder);
}

std::shared_ptr<const TextFiles> with_config(std::shared_ptr<const TextFiles> inner, std::string config) {
  return std::make_shared<TextsWithConfig>(std::move(inner), std::move(config));
}

StatusOr<Source> open_source(base::Env& env, const std::string& path) {
  if (!env.is_folder(path)) {
    if (path.ends_with(".gguf")) return open_gguf(env, path);
    if (env.exists(path)) {
      return absl::NotFoundError(
          absl::StrCat(path, ": name the model's folder, the one with config.json, or a .gguf file"));
    }
    return absl::NotFoundError(absl::StrCat(path, ": there is no such model folder or GGUF file"));
  }
  if (!env.exists(base::join_path(path, kConfigFile))) {
    GQ_ASSIGN_OR_RETURN(const std::string gguf, find_gguf(env, path));
    if (!gguf.empty()) return open_gguf(env, gguf);
  }
  return open_folder(env, path);
}

}  // namespace gridquant::formats
