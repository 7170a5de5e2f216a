// Inside engine/model only: what config.json says about the rotary embedding. Transformers 4 writes "rope_theta" and
// "rope_scaling", transformers 5 writes "rope_parameters" with both.
#pragma once

#include "engine/model/config_fields.h"

namespace gridquant::model {

struct RopeDefaults {
  double theta = 10000.0;
  double rotated_share = 1.0;
  int64_t original_positions = 0;  // what the configuration says outside of the object; 0: nothing
};

// One object ("rope_scaling", "rope_parameters", or one kind of attention in it). `config` has head_dim and
// max_positions.
RopeConfig read_rope_object(ConfigFields& object, const RopeDefaults& defaults, const ModelConfig& config);

// The rotary embedding of a model that has one for all blocks and rotates whole heads.
void read_rope(ConfigFields& fields, ModelConfig& config, double default_theta = 10000.0);

// The rotated part must be even and there must be one.
void check_rotated(ConfigFields& fields, const std::string& name, const RopeConfig& rope, const ModelConfig& config);

}  // namespace gridquant::model
