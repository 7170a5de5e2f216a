// The key of a stage's artifact: the digest of everything that its content follows from. Paths count by what lies
// behind them, not by their names. The number of threads, nodes and times are not in it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/spec/pipeline.h"
#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::store {

struct StageKey {
  std::string key;            // 64 hexadecimal digits
  nlohmann::json components;  // {"uses","version","with","inputs","cpu","compute"}: what is digested
};

struct KeyOptions {
  std::string cpu_kind;  // device::CpuInfo::kind()
  // "auto" -> "fp32" | "bf16", as this machine computes.
  std::function<StatusOr<std::string>(const std::string&)> resolve_compute;
};

// stage name -> key, for all stages. NotFound names the stage and the parameter whose path is not there.
StatusOr<std::map<std::string, StageKey>> compute_stage_keys(base::Env& env, const spec::Pipeline& pipeline,
                                                             const KeyOptions& options);

// A file: sha256 of its content; of more than 64 MiB: of its size, first and last MiB and modification time.
// A part of a split GGUF model (PREFIX-00001-of-00003.gguf): digest over all parts that lie beside it.
// A folder: digest over the names and fingerprints of the regular files in it (not of folders within).
StatusOr<std::string> fingerprint(base::Env& env, const std::string& path);

// What differs between two keys' components, one line each: "with.bits: 4 -> 8". Empty if nothing does.
std::vector<std::string> differences(const nlohmann::json& before, const nlohmann::json& after);

}  // namespace gridquant::store
