#include "engine/formats/gguf/names.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace gridquant::formats {
namespace {

constexpr std::pair<const char*, const char*> kOuter[] = {{"token_embd.weight", "model.embed_tokens.weight"},
                                                          {"output_norm.weight", "model.norm.weight"},
                                                          {"output.weight", "lm_head.weight"}};

// Within a block; the names that are the same in all architectures.
constexpr std::pair<const char*, const char*> kInner[] = {
    {"attn_norm.weight", "input_layernorm.weight"},    {"attn_q.weight", "self_attn.q_proj.weight"},
    {"attn_k.weight", "self_attn.k_proj.weight"},      {"attn_v.weight", "self_attn.v_proj.weight"},
    {"attn_output.weight", "self_attn.o_proj.weight"}, {"attn_q.bias", "self_attn.q_proj.bias"},
    {"attn_k.bias", "self_attn.k_proj.bias"},          {"attn_v.bias", "self_attn.v_proj.bias"},
    {"attn_output.bias", "self_attn.o_proj.bias"},     {"attn_q_norm.weight", "self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "self_attn.k_norm.weight"}, {"ffn_gate.weight", "mlp.gate_proj.weight"},
    {"ffn_up.weight", "mlp.up_proj.weight"},           {"ffn_down.weight", "mlp.down_proj.weight"},
    {"ffn_gate.bias", "mlp.gate_proj.bias"},           {"ffn_up.bias", "mlp.up_proj.bias"},
    {"ffn_down.bias", "mlp.down_proj.bias"},
};
constexpr std::pair<const char*, const char*> kNorms[] = {{"ffn_norm.weight", "post_attention_layernorm.weight"}};
constexpr std::pair<const char*, const char*> kGemmaNorms[] = {
    {"post_attention_norm.weight", "post_attention_layernorm.weight"},
    {"ffn_norm.weight", "pre_feedforward_layernorm.weight"},
    {"post_ffw_norm.weight", "post_feedforward_layernorm.weight"}};

template <size_t kCount>
std::string look_up(const std::pair<const char*, const char*> (&table)[kCount], std::string_view name) {
  for (const auto& [from, to] : table) {
    if (name == from) return to;
  }
  return "";
}

bool is_gemma(const std::string& architecture) {
  return architecture == "gemma3";
}

}  // namespace

std::string transformers_name(const std::string& architecture, const std::string& gguf_name) {
  constexpr std::string_view kBlock = "blk.";
  if (!gguf_name.starts_with(kBlock)) return look_up(kOuter, gguf_name);
  const size_t dot = gguf_name.find('.', kBlock.size());
  if (dot == std::string::npos) return "";
  const std::string number = gguf_name.substr(kBlock.size(), dot - kBlock.size());
  if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos) return "";
  const std::string inner = gguf_name.substr(dot + 1);
  std::string name = look_up(kInner, inner);
  if (name.empty()) name = is_gemma(architecture) ? look_up(kGemmaNorms, inner) : look_up(kNorms, inner);
  return name.empty() ? "" : absl::StrCat("model.layers.", number, ".", name);
}

bool has_interleaved_rows(const std::string& architecture, const std::string& gguf_name) {
  return architecture == "llama" && gguf_name.starts_with("blk.") &&
         (gguf_name.find(".attn_q.") != std::string::npos || gguf_name.find(".attn_k.") != std::string::npos);
}

bool has_shifted_values(const std::string& architecture, const std::string& gguf_name) {
  return is_gemma(architecture) && gguf_name.ends_with("norm.weight");
}

}  // namespace gridquant::formats
