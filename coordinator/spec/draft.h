// The stages of a file between tree and Pipeline: what each says by itself, before the graph is known.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/spec/bind.h"
#include "coordinator/spec/context.h"
#include "coordinator/spec/pipeline.h"
#include "coordinator/spec/ynode.h"
#include "stages/catalog/catalog.h"

namespace gridquant::spec {

struct Need {
  const YNode* node = nullptr;  // the scalar that names it
  int draft = -1;               // index of the stage; -1 while unresolved or unknown
  int instance = -1;            // of its matrix, if named; -1 = all
};

struct Instance {
  std::string name;
  MatrixValues values;
};

struct StageDraft {
  const YNode* key = nullptr;   // the stage's name
  const YNode* node = nullptr;  // its map
  const stages::StageInfo* info = nullptr;
  std::vector<Need> needs = {};
  std::vector<Instance> instances = {};  // one without values if there is no matrix
  StagePlan settings = {};               // uses, version, retry, timeout and resources; the rest comes later
  bool needs_broken = false;             // an unknown or circular need: what it reads cannot be judged
  bool has_matrix = false;
  const YEntry* parallelism = nullptr;  // null: none, or none that makes sense
  int parts = 0;                        // of parallelism
  bool has_unknown_keys = false;        // one of them may be a misspelt 'needs' or 'with'
};

inline constexpr int kMaxInstances = 256;  // of one matrix
inline constexpr int kMaxStages = 10'000;  // of a file, matrices expanded

// `spec` is the map under the document's "spec". Assumes that check_shape has reported what it sees.
std::vector<StageDraft> read_stages(const YNode& spec, const Context& context);

// Matrix instances of one stage; reports what makes them impossible.
std::vector<Instance> expand_matrix(const YNode& stage_key, const YEntry& matrix, const Context& context);
std::string slug(
    const nlohmann::json& value);  // "gguf:Q4_K_M" -> "gguf-q4-k-m", -1 -> "minus-1"; "" if nothing is left

}  // namespace gridquant::spec
