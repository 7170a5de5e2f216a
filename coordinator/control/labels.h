// Labels of nodes that are the coordinator's own: what a node's inventory says beyond cores, memory and GPUs. As labels
// they are on disk with the node, and stages are placed by them.
#pragma once

#include <string>

namespace gridquant::control {

inline constexpr const char* kOwnLabels = "gridquant/";  // prefix of all of them; a node's own labels may not have it
inline constexpr const char* kCpuKind = "gridquant/cpu-kind";
inline constexpr const char* kCpuModel = "gridquant/cpu-model";
inline constexpr const char* kComputeTypes = "gridquant/compute-types";  // "bf16,fp32": the first is what "auto" means
inline constexpr const char* kAgentAddress = "gridquant/agent-address";
inline constexpr const char* kVersion = "gridquant/version";

}  // namespace gridquant::control
