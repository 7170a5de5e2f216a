"""Tiny random checkpoints of every dense architecture and option, made with transformers."""

import copy
import dataclasses

import torch
import transformers

SMALL = dict(vocab_size=300, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2)
LLAMA3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
YARN = dict(rope_type="yarn", rope_theta=500.0, factor=4.0, original_max_position_embeddings=64)
PLAIN = dict(rope_type="default", rope_theta=500.0)


@dataclasses.dataclass
class Variant:
    name: str
    config: transformers.PretrainedConfig
    without: dict = dataclasses.field(default_factory=dict)  # config.json without an option: must give other logits
    seeds: int = 1


def make(kind, **options):
    return getattr(transformers, kind + "Config")(**{**SMALL, **options})


def longrope(dim, original):
    generator = torch.Generator().manual_seed(5)
    factors = (1 + torch.rand(2, dim // 2, generator=generator) * 3).tolist()
    return dict(rope_type="longrope", rope_theta=500.0, short_factor=factors[0], long_factor=factors[1],
                original_max_position_embeddings=original)


def phi3(**options):
    # Its tokens by default lie outside of a tiny vocabulary.
    return make("Phi3", **options)


def gemma3_ropes(full):
    return dict(full_attention=full, sliding_attention=dict(rope_type="default", rope_theta=100.0))


def gemma3_with_vision(**options):
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28,
                  patch_size=14)
    text = make("Gemma3Text", **options).to_dict()
    return transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4,
                                     tie_word_embeddings=text["tie_word_embeddings"])


KINDS = ["sliding_attention", "full_attention", "sliding_attention"]

VARIANTS = [
    Variant("llama", make("Llama", rope_parameters=PLAIN), seeds=2),
    Variant("llama biases tied head_dim", make("Llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                                               head_dim=20)),
    Variant("llama rope llama3", make("Llama", rope_parameters=LLAMA3), {"rope_parameters": PLAIN}),
    Variant("llama rope linear", make("Llama", rope_parameters=dict(PLAIN, rope_type="linear", factor=2.5)),
            {"rope_parameters": PLAIN}),
    Variant("llama rope dynamic",
            make("Llama", max_position_embeddings=80, rope_parameters=dict(PLAIN, rope_type="dynamic", factor=3.0)),
            {"rope_parameters": PLAIN}),
    Variant("llama rope yarn", make("Llama", rope_parameters=YARN), {"rope_parameters": PLAIN}),
    Variant("llama rope yarn options", make("Llama", head_dim=32, rope_parameters=dict(
        YARN, beta_fast=16.0, beta_slow=2.0, truncate=False, mscale=1.2, mscale_all_dim=0.7)),
            {"rope_parameters": dict(YARN, truncate=False)}),
    Variant("llama rope yarn attention factor", make("Llama", rope_parameters=dict(YARN, attention_factor=1.4)),
            {"rope_parameters": YARN}),
    Variant("mistral window", make("Mistral", sliding_window=24), {"sliding_window": None}, seeds=2),
    Variant("mistral no window", make("Mistral", sliding_window=None)),
    Variant("mistral window beyond a tile", make("Mistral", sliding_window=70, head_dim=16), {"sliding_window": 71}),
    Variant("qwen2 untied", make("Qwen2"), seeds=2),
    Variant("qwen2 tied windows", make("Qwen2", tie_word_embeddings=True, use_sliding_window=True, sliding_window=24,
                                       max_window_layers=1), {"layer_types": ["full_attention"] * 3}),
    Variant("qwen2 layer types yarn", make("Qwen2", use_sliding_window=True, sliding_window=24, layer_types=KINDS,
                                           rope_parameters=YARN), {"sliding_window": 25, "rope_parameters": PLAIN}),
    Variant("qwen3", make("Qwen3", head_dim=20), seeds=2),
    Variant("qwen3 biases windows", make("Qwen3", head_dim=16, attention_bias=True, use_sliding_window=True,
                                         sliding_window=24, max_window_layers=2, tie_word_embeddings=True),
            {"layer_types": ["full_attention"] * 3}),
    Variant("gemma2", make("Gemma2", head_dim=20, query_pre_attn_scalar=13, sliding_window=24,
                           attn_logit_softcapping=2.0, final_logit_softcapping=3.0),
            {"query_pre_attn_scalar": 20, "sliding_window": 300, "attn_logit_softcapping": None,
             "final_logit_softcapping": None}, seeds=2),
    Variant("gemma2 no caps", make("Gemma2", head_dim=12, sliding_window=70, attn_logit_softcapping=None,
                                   final_logit_softcapping=None, layer_types=KINDS, attention_bias=True)),
    Variant("gemma3", make("Gemma3Text", head_dim=20, query_pre_attn_scalar=13, sliding_window=24, layer_types=KINDS,
                           rope_parameters=gemma3_ropes(PLAIN)),
            {"query_pre_attn_scalar": 20, "sliding_window": 300,
             "rope_parameters": gemma3_ropes(dict(PLAIN, rope_theta=100.0))}, seeds=2),
    Variant("gemma3 scaled global", make("Gemma3Text", head_dim=16, sliding_window=70, sliding_window_pattern=3,
                                         final_logit_softcapping=3.0, rope_parameters=gemma3_ropes(
                                             dict(PLAIN, rope_type="linear", factor=8.0))),
            {"rope_parameters": gemma3_ropes(PLAIN), "final_logit_softcapping": None}),
    Variant("gemma3 with pictures", gemma3_with_vision(head_dim=20, query_pre_attn_scalar=13, sliding_window=24,
                                                       layer_types=KINDS, rope_parameters=gemma3_ropes(PLAIN))),
    Variant("gemma3 with pictures untied", gemma3_with_vision(head_dim=16, sliding_window=70, tie_word_embeddings=False,
                                                              rope_parameters=gemma3_ropes(PLAIN))),
    Variant("phi3", phi3(sliding_window=24), {"sliding_window": None}, seeds=2),
    Variant("phi3 part of head", phi3(hidden_size=64, rope_parameters=dict(PLAIN, partial_rotary_factor=0.75)),
            {"rope_parameters": dict(PLAIN, partial_rotary_factor=1.0)}),
    Variant("phi3 longrope", phi3(original_max_position_embeddings=120, rope_parameters=longrope(12, 120)),
            {"rope_parameters": PLAIN}),
    Variant("phi3 longrope part of head", phi3(
        hidden_size=64, original_max_position_embeddings=160,
        rope_parameters=dict(longrope(12, 160), partial_rotary_factor=0.75)), {"rope_parameters": PLAIN}),
]


def random_model(variant, seed):
    """Every parameter random, norms around 1 and biases away from 0."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(copy.deepcopy(variant.config), dtype=torch.float32)
    around_one = "gemma" not in variant.config.model_type
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.3 if parameter.dim() == 1 else 1.8 / parameter.shape[1] ** 0.5
            parameter.normal_(1.0 if "norm" in name and around_one else 0.0, spread)
    return model.eval()


def legacy_config(config):
    """config.json as transformers 4 wrote it: rope_theta, rope_scaling; Gemma 3's two bases and its pattern."""
    config = copy.deepcopy(config)
    if "text_config" in config:
        return dict(config, text_config=legacy_config(config["text_config"]))
    rope = config.pop("rope_parameters", None)
    if rope is None:
        return config
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    config["rope_theta"] = rope.pop("rope_theta")
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        config["partial_rotary_factor"] = rope["partial_rotary_factor"]
    rope.pop("partial_rotary_factor", None)
    scaled = rope.get("rope_type", "default") != "default"
    if scaled and config["model_type"] == "phi3":
        rope["type"] = rope.pop("rope_type")
    config["rope_scaling"] = rope if scaled else None
    return config
