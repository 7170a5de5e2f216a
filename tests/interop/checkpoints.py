"""Readers of quantized checkpoints written from the formats' descriptions alone, sharing no code with gridquant or with
the peers: GPTQ v1 and compressed-tensors pack-quantized -> fp32 weights. And models made of them.
"""

import glob
import json
import os

import torch
from safetensors import safe_open


def read_tensors(folder):
    """Every tensor of a model folder by name."""
    tensors = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                tensors[name] = file.get_tensor(name)
    return tensors


def read_config(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        return json.load(file)


def unpack(words, bits, count):
    """Codes from int32 words along the last dimension: one dense bit stream, lowest bits first, `count` codes."""
    stream = (words.to(torch.int64) & 0xFFFFFFFF).unsqueeze(-1) >> torch.arange(32) & 1
    stream = stream.flatten(-2)[..., : count * bits].unflatten(-1, (count, bits))
    return (stream << torch.arange(bits)).sum(-1)


def dequantize_gptq(tensors, prefix, bits, zero_offset):
    """[out, in]. Codes are packed along the input, zero points along the output; v1 stores zero - 1."""
    columns = tensors[prefix + ".g_idx"].numel()
    codes = unpack(tensors[prefix + ".qweight"].T.contiguous(), bits, columns)  # [out, in]
    scales = tensors[prefix + ".scales"].float()  # [groups, out]
    zeros = unpack(tensors[prefix + ".qzeros"], bits, scales.shape[1]) + zero_offset
    group = tensors[prefix + ".g_idx"].long()
    return (codes - zeros[group].T).float() * scales[group].T


def dequantize_packed(tensors, prefix, bits):
    """[out, in] of compressed-tensors pack-quantized, symmetric: codes are stored with 2^(bits-1) added."""
    rows, columns = (int(x) for x in tensors[prefix + ".weight_shape"])
    codes = unpack(tensors[prefix + ".weight_packed"], bits, columns)
    scales = tensors[prefix + ".weight_scale"].float()
    zeros = torch.full_like(scales, 2 ** (bits - 1))
    if prefix + ".weight_zero_point" in tensors:
        packed = tensors[prefix + ".weight_zero_point"].T.contiguous()
        zeros = unpack(packed, bits, rows).T.float()
    share = columns // scales.shape[1]
    return (codes - zeros.repeat_interleave(share, 1)) * scales.repeat_interleave(share, 1)


def dequantized_weights(folder):
    """(all tensors in fp32, quantized ones dequantized and named as in the original; the names of the quantized)"""
    config = read_config(folder).get("quantization_config")
    tensors = read_tensors(folder)
    if config is None:
        return {name: tensor.float() for name, tensor in tensors.items()}, []
    weights, quantized = {}, []
    method = config["quant_method"]
    if method == "gptq":
        marker, parts = ".qweight", (".qweight", ".qzeros", ".scales", ".g_idx")
        offset = 1 if config.get("checkpoint_format", "gptq") == "gptq" else 0
    elif method == "compressed-tensors":
        marker, parts = ".weight_packed", (".weight_packed", ".weight_scale", ".weight_shape", ".weight_zero_point")
        bits = config["config_groups"]["group_0"]["weights"]["num_bits"]
    else:
        raise ValueError(f"{folder}: quant_method {method}")
    for name in tensors:
        if name.endswith(marker):
            prefix = name[: -len(marker)]
            quantized.append(prefix + ".weight")
            weights[prefix + ".weight"] = (dequantize_gptq(tensors, prefix, config["bits"], offset) if method == "gptq"
                                           else dequantize_packed(tensors, prefix, bits))
    owned = {name[: -len(".weight")] + part for name in quantized for part in parts}
    weights.update({name: tensor.float() for name, tensor in tensors.items() if name not in owned})
    return weights, quantized


def plain_config(folder):
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    for name in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(config, name):
            delattr(config, name)
    return config


def load_plain(folder):
    """The model in fp32 through transformers' own forward pass, quantized weights dequantized by the readers above."""
    from transformers import AutoModelForCausalLM

    weights, _ = dequantized_weights(folder)
    with torch.device("cpu"):
        model = AutoModelForCausalLM.from_config(plain_config(folder), dtype=torch.float32)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    missing = [name for name in missing if name != "lm_head.weight" or not model.config.tie_word_embeddings]
    if missing or unexpected:
        raise ValueError(f"{folder}: missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    return model.eval()


def relative_error(a, b):
    """Norm of the difference over the norm of b, in fp64."""
    a, b = a.double(), b.double()
    return ((a - b).norm() / b.norm()).item()
