// Llama: the tensor and site tables, the embedding and the final norm. The block's forward pass is in llama_block.cc.
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/model/arch/list.h"
#include "engine/model/arch/llama_block.h"
#include "engine/ops/rms_norm.h"

namespace gridquant::model {
namespace {

using tensor::DType;

constexpr char kAttentionInput[] = "attention_input";
constexpr char kAttentionOutput[] = "attention_output";
constexpr char kMlpInput[] = "mlp_input";
constexpr char kMlpOutput[] = "mlp_output";

class LlamaArchitecture : public Architecture {
 public:
  std::string name() const override { return "LlamaForCausalLM"; }

  std::vector<TensorSpec> outer_tensors(const ModelConfig& c) const override {
    std::vector<TensorSpec> specs = {
        {"model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, TensorRole::kEmbedding, ""},
        {"model.norm.weight", {c.hidden_size}, TensorRole::kNorm, ""},
    };
    if (!c.tied_embeddings) {
      specs.push_back({"lm_head.weight", {c.vocab_size, c.hidden_size}, TensorRole::kLmHead, ""});
    }
    return specs;
  }

  std::vector<TensorSpec> block_tensors(const ModelConfig& c, int64_t b) const override {
    const std::string prefix = absl::StrCat("model.layers.", b, ".");
    const int64_t heads_width = c.head_count * c.head_dim;
    const int64_t kv_width = c.kv_head_count * c.head_dim;
    std::vector<TensorSpec> specs;
    const auto norm = [&](const char* suffix) {
      specs.push_back({prefix + suffix, {c.hidden_size}, TensorRole::kNorm, ""});
    };
    const auto linear = [&](const std::string& layer, int64_t out, int64_t in, const char* site) {
      specs.push_back({prefix + layer + ".weight", {out, in}, TensorRole::kLinear, site});
      const bool has_bias = layer.starts_with("self_attn") ? c.attention_bias : c.mlp_bias;
      if (has_bias) specs.push_back({prefix + layer + ".bias", {out}, TensorRole::kBias, ""});
    };
    norm("input_layernorm.weight");
    linear("self_attn.q_proj", heads_width, c.hidden_size, kAttentionInput);
    linear("self_attn.k_proj", kv_width, c.hidden_size, kAttentionInput);
    linear("self_attn.v_proj", kv_width, c.hidden_size, kAttentionInput);
    linear("self_attn.o_proj", c.hidden_size, heads_width, kAttentionOutput);
    norm("post_attention_layernorm.weight");
    linear("mlp.gate_proj", c.intermediate_size, c.hidden_size, kMlpInput);
    linear("mlp.up_proj", c.intermediate_size, c.hidden_size, kMlpInput);
    linear("mlp.down_proj", c.hidden_size, c.intermediate_size, kMlpOutput);
    return specs;
  }

  std::vector<SiteSpec> sites(const ModelConfig& c, int64_t b) const override {
    std::vector<SiteSpec> sites = {
        {kAttentionInput, c.hidden_size, {}},
        {kAttentionOutput, c.head_count * c.head_dim, {}},
        {kMlpInput, c.hidden_size, {}},
        {kMlpOutput, c.intermediate_size, {}},
    };
    for (const TensorSpec& spec : block_tensors(c, b)) {
      for (SiteSpec& site : sites) {
        if (spec.role == TensorRole::kLinear && spec.site == site.name) site.weights.push_back(spec.name);
      }
    }
    return sites;
  }

  StatusOr<std::unique_ptr<Block>> make_block(const ModelConfig& config, int64_t b, ops::Compute compute,
                                              std::vector<tensor::Tensor> norms_and_biases) const override {
    return make_llama_block({config, compute, block_tensors(config, b)}, std::move(norms_and_biases));
  }

  Status embed(const ModelConfig& config, const tensor::Tensor& embedding, std::span<const int32_t> ids,
               tensor::Matrix<float> hidden) const override {
    const int64_t width = config.hidden_size;
    if (embedding.cols() != width || hidden.cols != width || hidden.rows != static_cast<int64_t>(ids.size())) {
      return absl::InvalidArgumentError(absl::StrCat("embed: ", ids.size(), " tokens, embedding ",
                                                     tensor::to_string(embedding.shape()), ", hidden states ",
                                                     hidden.rows, " x ", hidden.cols));
    }
    for (int64_t t = 0; t < hidden.rows; ++t) {
      const int64_t id = ids[static_cast<size_t>(t)];
      if (id < 0 || id >= embedding.rows()) {
        return absl::InvalidArgumentError(
            absl::StrCat("token id ", id, " is outside of the model's vocabulary of ", embedding.rows()));
      }
      copy_row(embedding, id, {hidden.row(t), static_cast<size_t>(width)});
    }
    return absl::OkStatus();
  }

  Status final_norm(const ModelConfig& config, const tensor::Tensor& norm, tensor::Matrix<const float> hidden,
                    const ops::Operand& out) const override {
    const tensor::Tensor weight = tensor::to_f32(norm);
    return ops::rms_norm(hidden, weight.as<float>(), config.rms_norm_eps, out);
  }

 private:
  static void copy_row(const tensor::Tensor& embedding, int64_t row, std::span<float> to) {
    const auto begin = static_cast<size_t>(row) * to.size();
    switch (embedding.dtype()) {
      case DType::kF16:
        tensor::f16_to_f32(embedding.as<tensor::F16>().subspan(begin, to.size()), to);
        break;
      case DType::kBF16:
        tensor::bf16_to_f32(embedding.as<tensor::BF16>().subspan(begin, to.size()), to);
        break;
      default:
        std::memcpy(to.data(), embedding.as<float>().data() + begin, to.size_bytes());
    }
  }
};

}  // namespace

const Architecture& llama_architecture() {
  static const LlamaArchitecture architecture;
  return architecture;
}

}  // namespace gridquant::model
