#include "engine/formats/gguf/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <numbers>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace gridquant::formats {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kGemma3Period = 6;      // every sixth block attends to everything
constexpr int64_t kGemma3Blocks27B = 62;  // the one size whose query scale is not head_dim (as llama.cpp tells it)
constexpr double kGemma3LocalBase = 10000;
constexpr double kSameFrequency = 1e-4;  // relative; the file holds fp32

struct Names {
  const char* gguf;
  const char* transformers;
  const char* model_type;
};
constexpr Names kArchitectures[] = {{"llama", "LlamaForCausalLM", "llama"},
                                    {"qwen2", "Qwen2ForCausalLM", "qwen2"},
                                    {"qwen3", "Qwen3ForCausalLM", "qwen3"},
                                    {"gemma3", "Gemma3ForCausalLM", "gemma3_text"}};

// The shortest decimal that is this fp32 number: 1e-05, not 9.999999747378752e-06.
double shortest(double value) {
  char text[64];
  const auto written = std::to_chars(text, text + sizeof(text), static_cast<float>(value));
  double back = value;
  std::from_chars(text, written.ptr, back);
  return back;
}

// The divisor of frequency i in Llama 3's scaling (transformers: _compute_llama3_parameters).
double llama3_divisor(int64_t i, int64_t head_dim, double base, const ordered_json& scaling) {
  const double factor = scaling["factor"];
  const double low = scaling["low_freq_factor"];
  const double high = scaling["high_freq_factor"];
  const double original = scaling["original_max_position_embeddings"];
  const double frequency = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < original / high) return 1;
  if (wavelength > original / low) return factor;
  const double smooth = (original / wavelength - low) / (high - low);
  return 1 / ((1 - smooth) / factor + smooth);
}

class ConfigMaker {
 public:
  ConfigMaker(const std::map<std::string, GgufValue>& values, const GgufFacts& facts, const std::string& path)
      : keys_(values, path), facts_(facts) {}

  StatusOr<std::string> make() {
    const std::string name = keys_.text("general.architecture", "");
    const auto* known = std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                                     [&](const Names& names) { return name == names.gguf; });
    if (known == std::end(kArchitectures)) {
      keys_.refuse(absl::StrCat("the architecture \"", name,
                                "\" is not read from GGUF; known: ", absl::StrJoin(known_gguf_architectures(), ", ")));
      return keys_.status();
    }
    prefix_ = name + ".";
    config_["architectures"] = {known->transformers};
    config_["model_type"] = known->model_type;
    shapes();
    ids();
    if (name == "gemma3") {
      gemma3();
    } else {
      config_["hidden_act"] = "silu";
      config_["attention_bias"] = facts_.has_qkv_bias;
      if (name == "llama") config_["mlp_bias"] = false;
      if (name == "qwen2" || name == "qwen3") config_["use_sliding_window"] = false;
    }
    rope();
    config_["tie_word_embeddings"] = !facts_.has_output;
    config_["torch_dtype"] = facts_.dtype;
    GQ_RETURN_IF_ERROR(keys_.status());
    return config_.dump(2) + "\n";
  }

 private:
  std::string key(const char* name) const { return prefix_ + name; }
  // A count that some files give per block: all must be the same.
  int64_t count(const char* name) {
    if (!keys_.has(key(name)) || !is_array(name)) {
      keys_.require(key(name));
      return keys_.integer(key(name), 0);
    }
    const std::vector<int64_t>* each = keys_.integers(key(name));
    if (each->empty() || std::adjacent_find(each->begin(), each->end(), std::not_equal_to<>()) != each->end()) {
      keys_.refuse(absl::StrCat("the key \"", key(name), "\" differs from block to block"));
      return 0;
    }
    return each->front();
  }
  bool is_array(const char* name) { return keys_.is_integers(key(name)); }

  void shapes() {
    if (keys_.integer(key("expert_count"), 0) > 0) keys_.refuse("a mixture of experts is not read from GGUF");
    const int64_t heads = count("attention.head_count");
    config_["hidden_size"] = count("embedding_length");
    config_["intermediate_size"] = count("feed_forward_length");
    config_["num_hidden_layers"] = count("block_count");
    config_["num_attention_heads"] = heads;
    config_["num_key_value_heads"] =
        keys_.has(key("attention.head_count_kv")) ? count("attention.head_count_kv") : heads;
    const int64_t width = heads > 0 ? config_["hidden_size"].get<int64_t>() / heads : 0;
    head_dim_ = keys_.integer(key("attention.key_length"), keys_.integer(key("rope.dimension_count"), width));
    if (keys_.integer(key("attention.value_length"), head_dim_) != head_dim_) {
      keys_.refuse("keys and values of different lengths are not read");
    }
    if (keys_.integer(key("rope.dimension_count"), head_dim_) != head_dim_) {
      keys_.refuse("rotary embeddings of a part of the head are not read");
    }
    config_["head_dim"] = head_dim_;
    config_["max_position_embeddings"] = count("context_length");
    config_["vocab_size"] = facts_.vocab_size;
    keys_.require(key("attention.layer_norm_rms_epsilon"));
    config_["rms_norm_eps"] = shortest(keys_.number(key("attention.layer_norm_rms_epsilon"), 0));
  }

  void ids() {
    constexpr std::pair<const char*, const char*> kIds[] = {{"bos", "bos"}, {"eos", "eos"}, {"padding", "pad"}};
    for (const auto& [gguf, transformers] : kIds) {
      const std::string name = absl::StrCat("tokenizer.ggml.", gguf, "_token_id");
      if (keys_.has(name)) config_[absl::StrCat(transformers, "_token_id")] = keys_.integer(name, 0);
    }
  }

  void gemma3() {
    const int64_t blocks = config_["num_hidden_layers"];
    const int64_t heads = std::max<int64_t>(1, config_["num_attention_heads"]);
    config_["hidden_activation"] = "gelu_pytorch_tanh";
    config_["query_pre_attn_scalar"] =
        blocks == kGemma3Blocks27B ? config_["hidden_size"].get<int64_t>() / heads : head_dim_;
    config_["sliding_window"] = count("attention.sliding_window");
    const int64_t period = keys_.integer(key("attention.sliding_window_pattern"), kGemma3Period);
    if (period < 1) keys_.fail("the key \"gemma3.attention.sliding_window_pattern\" is not positive");
    config_["sliding_window_pattern"] = period;
    config_["layer_types"] = ordered_json::array();
    for (int64_t b = 0; b < std::min<int64_t>(blocks, 4096) && period > 0; ++b) {
      config_["layer_types"].push_back((b + 1) % period == 0 ? "full_attention" : "sliding_attention");
    }
    config_["rope_local_base_freq"] = shortest(keys_.number(key("rope.freq_base_swa"), kGemma3LocalBase));
    config_["attention_bias"] = false;
    config_["attn_logit_softcapping"] = nullptr;
    const double cap = keys_.number(key("final_logit_softcapping"), 0);
    config_["final_logit_softcapping"] = cap > 0 ? ordered_json(shortest(cap)) : ordered_json(nullptr);
  }

  void rope() {
    const bool gemma = prefix_ == "gemma3.";
    config_["rope_theta"] = shortest(keys_.number(key("rope.freq_base"), gemma ? 1e6 : 1e4));
    const std::string type = keys_.text(key("rope.scaling.type"), "none");
    config_["rope_scaling"] = nullptr;
    if (!facts_.rope_freqs.empty()) {
      llama3();
    } else if (type == "linear") {
      config_["rope_scaling"] = {{"rope_type", "linear"},
                                 {"factor", shortest(keys_.number(key("rope.scaling.factor"), 1))}};
    } else if (type == "yarn") {
      config_["rope_scaling"] = {{"rope_type", "yarn"},
                                 {"factor", shortest(keys_.number(key("rope.scaling.factor"), 1))}};
      const char* original = "rope.scaling.original_context_length";
      if (keys_.has(key(original))) {
        config_["rope_scaling"]["original_max_position_embeddings"] = keys_.integer(key(original), 0);
      }
      for (const char* extra :
           {"yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "yarn_log_multiplier"}) {
        if (keys_.has(key(absl::StrCat("rope.scaling.", extra).c_str()))) {
          keys_.refuse(absl::StrCat("YaRN with ", extra, " is not read from GGUF"));
        }
      }
    } else if (type != "none") {
      keys_.refuse(absl::StrCat("RoPE scaling \"", type, "\" is not read from GGUF"));
    }
  }

  // The file holds the divisors that Llama 3's parameters give, not the parameters. They are found again, and what they
  // give is compared with the file, number by number.
  void llama3() {
    const std::vector<double>& divisors = facts_.rope_freqs;
    if (static_cast<int64_t>(divisors.size()) * 2 != head_dim_) {
      keys_.fail(absl::StrCat("rope_freqs.weight has ", divisors.size(), " elements for heads of ", head_dim_));
      return;
    }
    if (std::all_of(divisors.begin(), divisors.end(), [](double d) { return d == 1; })) return;
    const double base = config_["rope_theta"];
    const double factor = *std::max_element(divisors.begin(), divisors.end());
    for (int64_t original : {8192, 4096, 2048, 16384, 32768, 1024, 512, 256, 128, 64, 32, 16}) {
      original = keys_.integer(key("rope.scaling.original_context_length"), original);
      for (const auto& [low, high] : {std::pair(1.0, 4.0), std::pair(1.0, 2.0), std::pair(1.0, 8.0)}) {
        const ordered_json scaling = {{"rope_type", "llama3"},
                                      {"factor", shortest(factor)},
                                      {"low_freq_factor", low},
                                      {"high_freq_factor", high},
                                      {"original_max_position_embeddings", original}};
        bool same = true;
        for (size_t i = 0; i < divisors.size() && same; ++i) {
          const double expected = llama3_divisor(static_cast<int64_t>(i), head_dim_, base, scaling);
          same = std::abs(divisors[i] - expected) <= kSameFrequency * expected;
        }
        if (same) {
          config_["rope_scaling"] = scaling;
          return;
        }
      }
    }
    keys_.refuse("rope_freqs.weight is not what Llama 3's scaling gives for any parameters that are in use");
  }

  GgufKeys keys_;
  const GgufFacts& facts_;
  std::string prefix_;
  ordered_json config_ = ordered_json::object();
  int64_t head_dim_ = 0;
};

}  // namespace

std::vector<std::string> known_gguf_architectures() {
  std::vector<std::string> names;
  for (const Names& known : kArchitectures) names.emplace_back(known.gguf);
  return names;
}

StatusOr<std::string> gguf_config_json(const std::map<std::string, GgufValue>& values, const GgufFacts& facts,
                                       const std::string& path) {
  return ConfigMaker(values, facts, path).make();
}

StatusOr<std::string> gguf_generation_config_json(const std::map<std::string, GgufValue>& values,
                                                  const std::string& path) {
  GgufKeys keys(values, path);
  ordered_json config = ordered_json::object();
  const auto add = [&](const char* name, const char* id) {
    const std::string key = absl::StrCat("tokenizer.ggml.", id, "_token_id");
    if (keys.has(key)) config[name] = keys.integer(key, 0);
  };
  add("bos_token_id", "bos");
  add("eos_token_id", "eos");
  add("pad_token_id", "padding");
  if (keys.has("tokenizer.ggml.eot_token_id") && config.contains("eos_token_id")) {
    const int64_t turn = keys.integer("tokenizer.ggml.eot_token_id", 0);
    if (turn != config["eos_token_id"]) config["eos_token_id"] = {config["eos_token_id"], turn};
  }
  GQ_RETURN_IF_ERROR(keys.status());
  return config.dump(2) + "\n";
}

}  // namespace gridquant::formats
