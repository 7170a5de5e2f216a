// Names and places of the parts of fused experts.
#include "engine/formats/fused_experts.h"

namespace gridquant::formats {
namespace {

constexpr std::string_view kGateUp = ".mlp.experts.gate_up_proj";
constexpr int64_t kMaxExperts = 4096;  // a file that claims more is left as it is
constexpr std::string_view kDown = ".mlp.experts.down_proj";

}  // namespace

ExpertNames expert_names(const std::string& model_type) {
  if (model_type == "mixtral") return {"block_sparse_moe", "w1", "w3", "w2"};
  return {};
}

std::vector<std::pair<std::string, TensorEntry>> split_fused_experts(const std::string& name, const TensorEntry& entry,
                                                                     const ExpertNames& names) {
  const bool gate_up = name.ends_with(kGateUp);
  const std::string_view suffix = gate_up ? kGateUp : kDown;
  if (!name.ends_with(suffix) || entry.shape.size() != 3 || entry.bytes == 0) return {};
  if (entry.shape[0] > kMaxExperts || (gate_up && entry.shape[1] % 2 != 0)) return {};
  const std::string prefix = name.substr(0, name.size() - suffix.size()) + "." + names.module + ".experts.";
  const std::vector<std::string> layers =
      gate_up ? std::vector<std::string>{names.gate, names.up} : std::vector<std::string>{names.down};
  const auto of_each = static_cast<int64_t>(layers.size());
  TensorEntry part = entry;
  part.shape = {entry.shape[1] / of_each, entry.shape[2]};
  part.bytes = entry.bytes / static_cast<uint64_t>(entry.shape[0] * of_each);
  std::vector<std::pair<std::string, TensorEntry>> parts;
  for (int64_t e = 0; e < entry.shape[0]; ++e) {
    for (const std::string& layer : layers) {
      parts.emplace_back(prefix + std::to_string(e) + "." + layer + ".weight", part);
      part.begin += part.bytes;
    }
  }
  return parts;
}

}  // namespace gridquant::formats
