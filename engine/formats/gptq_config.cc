// What loaders need to know about a GPTQ checkpoint: the table of quantizers.md 2.1.
#include <algorithm>
#include <cctype>
#include <set>

#include <nlohmann/json.hpp>

#include "engine/formats/gptq.h"

namespace gridquant::formats {
namespace {

// Loaders that fuse weights look for the fused module's name.
struct Fused {
  const char* name;
  std::vector<const char*> parts;
};

std::string rule_for(const std::string& module) {
  std::string rule = "-:^";
  for (const char c : module) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_') rule += '\\';
    rule += c;
  }
  return rule + "$";
}

// The fused modules all of whose parts are excluded.
std::vector<std::string> fused_modules(const std::vector<std::string>& excluded) {
  static const Fused kFused[] = {{"qkv_proj", {"q_proj", "k_proj", "v_proj"}},
                                 {"gate_up_proj", {"gate_proj", "up_proj"}}};
  const std::set<std::string> all(excluded.begin(), excluded.end());
  std::vector<std::string> names;
  for (const std::string& module : excluded) {
    const std::string parent = module.substr(0, module.rfind('.') + 1);
    for (const Fused& fused : kFused) {
      if (module != parent + fused.parts[0]) continue;
      const bool whole = std::all_of(fused.parts.begin(), fused.parts.end(),
                                     [&](const char* part) { return all.contains(parent + part); });
      if (whole) names.push_back(parent + fused.name);
    }
  }
  return names;
}

}  // namespace

std::string gptq_quantization_config(const GptqSettings& settings) {
  nlohmann::ordered_json config;
  config["quant_method"] = "gptq";
  config["bits"] = settings.grid.bits;
  config["group_size"] = settings.grid.group_size;
  config["desc_act"] = false;  // act-order with static groups leaves g_idx trivial: nothing for a loader to do
  config["static_groups"] = true;
  config["sym"] = settings.grid.symmetric;
  config["lm_head"] = false;
  config["checkpoint_format"] = "gptq";
  config["format"] = "gptq";
  config["method"] = "gptq";
  config["true_sequential"] = true;
  config["damp_percent"] = settings.damp_percent;
  config["pack_dtype"] = "int32";
  config["model_name_or_path"] = settings.model_name;
  config["model_file_base_name"] = "model";
  config["meta"] = {{"quantizer", {"gridquant:" GRIDQUANT_VERSION}},
                    {"act_order", settings.act_order},
                    {"damp_percent", settings.damp_percent}};
  if (!settings.excluded_modules.empty()) {
    nlohmann::ordered_json rules = nlohmann::ordered_json::object();
    for (const std::string& module : settings.excluded_modules) rules[rule_for(module)] = nlohmann::json::object();
    for (const std::string& module : fused_modules(settings.excluded_modules)) {
      rules[rule_for(module)] = nlohmann::json::object();
    }
    config["dynamic"] = std::move(rules);
  }
  return config.dump(2);
}

}  // namespace gridquant::formats
