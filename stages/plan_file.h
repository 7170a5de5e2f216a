// plan.json: what plan decided, and quantize follows to the letter.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/quant/solver.h"

namespace gridquant::stages {

struct PlannedTensor {
  std::string name;
  bool quantize = false;
  std::string reason;  // why it is kept: "embedding", "norm", "bias", "lm_head", "router", "excluded by /lm_head/"
  int64_t block = -1;  // -1: outside the blocks
  int64_t rows = 0;    // of a linear weight
  int64_t cols = 0;
};

struct Forecast {
  std::vector<uint64_t> shard_bytes;  // shard 0: tensors outside the blocks; shard 1 + b: block b
  uint64_t checkpoint_bytes = 0;      // sum of the above
  uint64_t original_bytes = 0;        // of the same tensors, as they are in the model's files
};

struct Plan {
  std::string model;  // folder
  std::string solver = "gptq";
  quant::SolverOptions options;
  std::vector<PlannedTensor> tensors;  // outer, then block by block, in the architecture's order
  Forecast forecast;

  // After `tensors` was filled or changed: find() looks there. A mixture has tens of thousands of tensors.
  void build_index();
  const PlannedTensor* find(const std::string& name) const;  // null if absent
  int64_t quantized_count() const;
  std::vector<std::string> excluded_modules() const;  // linear weights left as they are by `exclude`, and routers

 private:
  std::unordered_map<std::string, size_t> index_;  // of `tensors`, by name
};

Status write_plan(base::Env& env, const std::string& folder, const Plan& plan);
StatusOr<Plan> read_plan(base::Env& env, const std::string& folder);
// Everything of the plan that the result's bytes depend on, as text.
std::string plan_fingerprint(const Plan& plan);

}  // namespace gridquant::stages
