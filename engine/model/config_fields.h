// Inside engine/model only: the fields of config.json, read one by one with their ranges, and what most decoders read.
// The first error is kept, later reads return something harmless.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/status.h"
#include "engine/model/config.h"

namespace gridquant::model {

class ConfigFields {
 public:
  // `object` and `path` outlive this. `prefix` goes before names in messages: "rope_scaling.".
  ConfigFields(const nlohmann::json& object, const std::string& path, std::string prefix = "");

  const nlohmann::json* find(const std::string& name) const;  // null if absent or null
  const std::string& path() const { return path_; }
  const std::string& prefix() const { return prefix_; }

  // Absent and null are the same for these: `fallback`.
  // A whole number in [1, 2^31); `fallback` 0 means that the field is required.
  int64_t positive(const std::string& name, int64_t fallback);
  double number(const std::string& name, double fallback);        // positive
  double not_negative(const std::string& name, double fallback);  // positive or 0
  bool flag(const std::string& name, bool fallback);
  std::string text(const std::string& name, const std::string& fallback);
  // A list of `count` positive numbers; the field is required.
  std::vector<float> numbers(const std::string& name, size_t count);

  // Absent: `fallback`; null: 0, which stands for "none".
  int64_t positive_or_none(const std::string& name, int64_t fallback);
  double number_or_none(const std::string& name, double fallback);

  void fail(const std::string& name, const std::string& what);    // InvalidArgument: '"name" what'
  void refuse(const std::string& name, const std::string& what);  // Unimplemented
  void update(const Status& status) { status_.Update(status); }
  const Status& status() const { return status_; }

 private:
  bool is_null(const std::string& name) const;

  const nlohmann::json& object_;
  const std::string& path_;
  std::string prefix_;
  Status status_;
};

// What transformers takes for an absent field, by architecture. 0: the field must be there.
struct DecoderDefaults {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t block_count = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  // 0: as many as heads
  int64_t head_dim = 0;  // 0: hidden_size / heads
  int64_t max_positions = 2048;
  double rms_norm_eps = 1e-6;
  bool tied_embeddings = false;
};

// Widths, heads, block count, vocabulary, epsilon, tied embeddings.
void read_decoder_fields(ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config);
struct ExpertDefaults {
  int64_t experts = 0;
  int64_t per_token = 0;
};
// How many experts there are ("num_local_experts" or "num_experts", by the writer's version), and how many a token has.
void read_experts(ConfigFields& fields, const ExpertDefaults& defaults, ModelConfig& config);
// Refuses another activation than `only` (the default, too).
void require_activation(ConfigFields& fields, const std::string& name, const std::string& only);
// Refuses the option `name` where it is true.
void refuse_flag(ConfigFields& fields, const std::string& name);

// config.windows from "layer_types": `window` for "sliding_attention", which must not be 0 then. False if the field is
// absent.
bool read_layer_types(ConfigFields& fields, int64_t window, ModelConfig& config);
// Where there are no layer types: every `pattern`-th block has no window.
void set_window_pattern(ConfigFields& fields, int64_t window, int64_t pattern, ModelConfig& config);
// The sliding window of Qwen2 and Qwen3: "use_sliding_window" with "max_window_layers" or "layer_types".
void read_optional_windows(ConfigFields& fields, ModelConfig& config);

}  // namespace gridquant::model
