// What the tests of the folder writer share: a source model, shards, and a run as quantize makes it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/formats/checkpoint_writer.h"
#include "tests/unit/formats/testing.h"

namespace gridquant::formats {

inline constexpr int kShards = 3;
inline constexpr char kIndex[] = "out/model.safetensors.index.json";
inline constexpr char kConfig[] = R"({"model_type": "llama", "architectures": ["X"], "rms_norm_eps": 1e-05, "a": "é"})";
inline constexpr char kQuantization[] = R"({"quant_method": "gptq", "bits": 4})";

inline std::vector<NamedTensor> shard(int index, const std::string& key = "key") {
  std::vector<NamedTensor> tensors;
  const std::string prefix = "layers." + std::to_string(index);
  tensors.push_back(
      named<int32_t>(prefix + ".qweight", tensor::DType::kI32, {4}, {index, 1, 2, static_cast<int32_t>(key.size())}));
  tensors.push_back(named<uint16_t>(prefix + ".norm", tensor::DType::kBF16, {2}, {0x3f80, 0x4000}));
  return tensors;
}

inline CheckpointWriterOptions options(const std::string& key = "key") {
  return {"out", kShards, key, true};
}

inline FinishOptions finish_options(base::Env& env) {
  return {folder_texts(env, "source"), kConfig, kQuantization, {{"README.md", "# quantized\n"}}};
}

inline void make_source(base::Env& env) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "tokenizer.model", "generation_config.json",
                           "special_tokens_map.json", "chat_template.jinja", "added_tokens.json", "vocab.json",
                           "merges.txt", "spiece.model", "config.json", "model.safetensors", "pytorch_model.bin",
                           "README.md", ".gitattributes", "tokenizer.json.tmp"}) {
    put(env, "source/" + std::string(name), "content of " + std::string(name));
  }
}

// What quantize does: opens, makes the shards that are missing, finishes.
inline Status run(base::Env& env, const CheckpointWriterOptions& how = options(), std::vector<int>* made = nullptr) {
  GQ_ASSIGN_OR_RETURN(auto writer, CheckpointWriter::open(env, how));
  for (int index = 0; index < how.shard_count; ++index) {
    if (writer.is_committed(index)) continue;
    if (made != nullptr) made->push_back(index);
    GQ_RETURN_IF_ERROR(writer.commit_shard(index, shard(index, how.key)));
  }
  return writer.finish(finish_options(env));
}

inline std::map<std::string, std::string> snapshot(base::Env& env, const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const std::string& name : env.list(folder).value_or(std::vector<std::string>())) {
    const std::string path = base::join_path(folder, name);
    if (!env.is_folder(path)) {
      files[path] = get(env, path);
      continue;
    }
    files.merge(snapshot(env, path));
  }
  return files;
}

// The first path that is not the same in both; empty if there is none.
inline std::string difference(const std::map<std::string, std::string>& a,
                              const std::map<std::string, std::string>& b) {
  for (const auto& [path, content] : a) {
    if (!b.contains(path) || b.at(path) != content) return path;
  }
  for (const auto& [path, content] : b) {
    if (!a.contains(path)) return path;
  }
  return "";
}

}  // namespace gridquant::formats
