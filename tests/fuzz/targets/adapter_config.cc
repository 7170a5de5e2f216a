// adapter_config.json beside good weights and a good base.
#include "engine/base/env.h"
#include "engine/formats/adapter.h"
#include "engine/formats/safetensors.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {
namespace {

formats::NamedTensor zeros(const std::string& name, tensor::Shape shape) {
  tensor::Tensor values(tensor::DType::kF32, std::move(shape));
  for (float& x : values.as<float>()) x = 0;
  return {name, std::move(values)};
}

}  // namespace

void adapter_config(std::string_view bytes) {
  const std::string module = "model.layers.0.self_attn.q_proj";
  const auto env = base::make_memory_env();
  env->make_folders("m").IgnoreError();
  env->make_folders("l").IgnoreError();
  const formats::NamedTensor base[] = {zeros(module + ".weight", {4, 6})};
  const formats::NamedTensor lora[] = {zeros("base_model.model." + module + ".lora_A.weight", {2, 6}),
                                       zeros("base_model.model." + module + ".lora_B.weight", {4, 2})};
  require(formats::write_safetensors(*env, "m/model.safetensors", base).ok(), "no base");
  require(formats::write_safetensors(*env, "l/adapter_model.safetensors", lora).ok(), "no adapter");
  require(base::write_file_atomically(*env, "m/config.json", "{}").ok(), "no configuration");
  require(base::write_file_atomically(*env, "l/adapter_config.json", bytes).ok(), "no adapter configuration");
  auto source = formats::open_source(*env, "m");
  require(source.ok(), "the base is refused");
  const auto merged = formats::apply_adapter(*env, *std::move(source), "l");
  if (merged.ok()) require(merged->tensors->read(module + ".weight").ok(), "a merged weight cannot be read");
}

}  // namespace gridquant::fuzz
