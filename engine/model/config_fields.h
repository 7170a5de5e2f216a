// Inside engine/model only: the fields of config.json, read one by one with their ranges, and what most decoders read.
// The first error is kept, later reads return something harmless.
#pragma once

#include <cstdint>
#include <string>

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

  // A whole number in [1, 2^31); `fallback` 0 means that the field is required.
  int64_t positive(const std::string& name, int64_t fallback);
  // A positive number.
  double number(const std::string& name, double fallback);
  bool flag(const std::string& name, bool fallback);
  std::string text(const std::string& name, const std::string& fallback);

  void fail(const std::string& name, const std::string& what);    // InvalidArgument: '"name" what'
  void refuse(const std::string& name, const std::string& what);  // Unimplemented
  void update(const Status& status) { status_.Update(status); }
  const Status& status() const { return status_; }

 private:
  const nlohmann::json& object_;
  const std::string& path_;
  std::string prefix_;
  Status status_;
};

// What transformers takes for an absent field, by architecture. 0: the field must be there.
struct DecoderDefaults {
  int64_t kv_heads = 0;  // 0: as many as heads
  int64_t head_dim = 0;  // 0: hidden_size / heads
  int64_t max_positions = 2048;
  double rms_norm_eps = 1e-6;
  bool tied_embeddings = false;
};

// Widths, heads, block count, vocabulary, epsilon, tied embeddings.
void read_decoder_fields(ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config);
// The rotary embedding. Transformers 4 writes "rope_theta" and "rope_scaling", transformers 5 writes "rope_parameters"
// with both.
void read_rope(ConfigFields& fields, ModelConfig& config);
struct ExpertDefaults {
  int64_t experts = 0;
  int64_t per_token = 0;
};
// How many experts there are ("num_local_experts" or "num_experts", by the writer's version), and how many a token has.
void read_experts(ConfigFields& fields, const ExpertDefaults& defaults, ModelConfig& config);
// Refuses another activation than `only` (the default, too).
void require_activation(ConfigFields& fields, const std::string& name, const std::string& only);

}  // namespace gridquant::model
