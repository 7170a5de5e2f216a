// Makes a model folder of a given shape with random weights, for measurements that need the size and not the sense:
// bench_model SHAPE BLOCKS FOLDER. One shard per block, 0.02 normal bf16 weights out of a pool that is used again and
// again, norms of one, zero biases. The tokenizer is for the caller to copy. Not for judging quality.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/env.h"
#include "engine/formats/safetensors.h"
#include "engine/model/architecture.h"

namespace gridquant {
namespace {

using nlohmann::json;

constexpr size_t kPool = (8 << 20) + 77;  // elements; odd, so that rows do not repeat at their own length

struct Shape {
  const char* name;
  const char* architecture;
  const char* model_type;
  int64_t hidden, intermediate, heads, kv_heads, vocab;
  bool tied;
};
constexpr Shape kShapes[] = {
    {"qwen2.5-14b", "Qwen2ForCausalLM", "qwen2", 5120, 13824, 40, 8, 152064, false},
    {"llama-14b", "LlamaForCausalLM", "llama", 5120, 13824, 40, 8, 152064, false},
    {"llama-1b", "LlamaForCausalLM", "llama", 2048, 8192, 32, 8, 128256, true},
    {"llama-fifth", "LlamaForCausalLM", "llama", 1024, 2816, 8, 2, 32768, false},
};

json config_of(const Shape& shape, int64_t blocks) {
  return {{"architectures", {shape.architecture}},
          {"model_type", shape.model_type},
          {"hidden_size", shape.hidden},
          {"intermediate_size", shape.intermediate},
          {"num_hidden_layers", blocks},
          {"num_attention_heads", shape.heads},
          {"num_key_value_heads", shape.kv_heads},
          {"vocab_size", shape.vocab},
          {"max_position_embeddings", 4096},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 1000000.0},
          {"hidden_act", "silu"},
          {"use_sliding_window", false},
          {"tie_word_embeddings", shape.tied},
          {"torch_dtype", "bfloat16"}};
}

std::vector<tensor::BF16> make_pool() {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<tensor::BF16> pool(kPool);
  for (tensor::BF16& x : pool) x = tensor::to_bf16(normal(generator));
  return pool;
}

formats::StreamedTensor random_tensor(const model::TensorSpec& spec, const std::vector<tensor::BF16>& pool,
                                      size_t offset) {
  const auto total = static_cast<size_t>(tensor::element_count(spec.shape));
  const model::TensorRole role = spec.role;
  const auto write = [total, role, offset, &pool](const formats::StreamedTensor::Append& append) -> Status {
    if (role == model::TensorRole::kNorm || role == model::TensorRole::kBias) {
      const tensor::BF16 value = tensor::to_bf16(role == model::TensorRole::kNorm ? 1.0f : 0.0f);
      const std::vector<tensor::BF16> values(total, value);
      return append(std::as_bytes(std::span(values)));
    }
    for (size_t done = 0, at = offset % kPool; done < total;) {
      const size_t count = std::min(total - done, kPool - at);
      GQ_RETURN_IF_ERROR(append(std::as_bytes(std::span(pool).subspan(at, count))));
      done += count;
      at = 0;
    }
    return absl::OkStatus();
  };
  return {spec.name, tensor::DType::kBF16, spec.shape, write};
}

Status make(const Shape& shape, int64_t blocks, const std::string& folder) {
  base::Env& env = base::posix_env();
  GQ_RETURN_IF_ERROR(env.make_folders(folder));
  const std::string text = config_of(shape, blocks).dump(1);
  GQ_ASSIGN_OR_RETURN(const model::ModelConfig config, model::parse_model_config(text, "config.json"));
  const model::Architecture& architecture = model::architecture_of(config);
  const std::vector<tensor::BF16> pool = make_pool();
  json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", json::object()}};
  uint64_t total = 0;
  size_t offset = 0;
  for (int64_t b = -1; b < blocks; ++b) {
    const std::string file = b < 0 ? "outer.safetensors" : "block-" + std::to_string(b) + ".safetensors";
    std::vector<formats::StreamedTensor> tensors;
    for (const model::TensorSpec& spec :
         b < 0 ? architecture.outer_tensors(config) : architecture.block_tensors(config, b)) {
      tensors.push_back(random_tensor(spec, pool, offset += 1'000'003));
      index["weight_map"][spec.name] = file;
      total += tensors.back().bytes();
    }
    const std::string path = base::join_path(folder, file);
    if (env.exists(path)) continue;  // an earlier run's, or another number of blocks
    GQ_RETURN_IF_ERROR(formats::write_safetensors_file(env, path, tensors).status());
  }
  index["metadata"]["total_size"] = total;
  GQ_RETURN_IF_ERROR(
      base::write_file_atomically(env, base::join_path(folder, "model.safetensors.index.json"), index.dump(1)));
  return base::write_file_atomically(env, base::join_path(folder, "config.json"), text);
}

int run(int argc, char** argv) {
  const Shape* shape = nullptr;
  for (const Shape& known : kShapes) {
    if (argc == 4 && std::strcmp(known.name, argv[1]) == 0) shape = &known;
  }
  const int64_t blocks = argc == 4 ? std::atoll(argv[2]) : 0;
  if (shape == nullptr || blocks < 1) {
    std::fprintf(stderr, "usage: bench_model SHAPE BLOCKS FOLDER\nshapes:");
    for (const Shape& known : kShapes) std::fprintf(stderr, " %s", known.name);
    std::fprintf(stderr, "\n");
    return 2;
  }
  const Status status = make(*shape, blocks, argv[3]);
  if (!status.ok()) std::fprintf(stderr, "bench_model: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace gridquant

int main(int argc, char** argv) {
  return gridquant::run(argc, argv);
}
