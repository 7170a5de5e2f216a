#!/usr/bin/env python3
"""LoRA adapters merged while reading, against PEFT's merge_and_unload; FP8 checkpoints against torch's float8.

usage: adapter.py GQ_SOURCE_BINARY

Tiny random Llama. In fp32 a merged weight may differ from PEFT's by the order in which B A is summed: at most
LIMIT times the largest |B A| of the tensor. Exit code 1, or an assertion that names the tensor, otherwise.
"""

import json
import os
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

LIMIT = 4e-6
CONFIG = dict(hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              vocab_size=128, max_position_embeddings=128, pad_token_id=0)


def base_model():
    torch.manual_seed(11)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**CONFIG, tie_word_embeddings=False)).eval()


def adapters():
    linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    yield "plain", peft.LoraConfig(r=8, lora_alpha=16, target_modules=linear)
    yield "rslora", peft.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], use_rslora=True)
    yield "patterns", peft.LoraConfig(r=4, lora_alpha=8, target_modules=linear,
                                      rank_pattern={"down_proj": 16, "layers.1.self_attn.q_proj": 2},
                                      alpha_pattern={"down_proj": 3, "layers.1.self_attn.q_proj": 5})
    yield "modules to save", peft.LoraConfig(r=8, lora_alpha=4, target_modules=["q_proj"],
                                             modules_to_save=["lm_head", "embed_tokens"])
    yield "every linear, fan in", peft.LoraConfig(r=3, lora_alpha=7, target_modules="all-linear", fan_in_fan_out=True)


def read(gq_source, how, *arguments):
    out = os.path.join(os.path.dirname(arguments[0]), "out")
    subprocess.run([gq_source, how, arguments[0], out, *arguments[1:]], check=True)
    return load_file(os.path.join(out, "model.safetensors"))


def check_adapter(gq_source, name, config, dtype):
    with tempfile.TemporaryDirectory() as folder:
        base, adapter = os.path.join(folder, "base"), os.path.join(folder, "adapter")
        base_model().to(dtype).save_pretrained(base)
        start = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        original = {key: value.clone() for key, value in start.state_dict().items()}
        model = peft.get_peft_model(start, config)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in (p for p in model.parameters() if p.requires_grad):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        model.save_pretrained(adapter)
        merged = model.merge_and_unload().state_dict()
        found = read(gq_source, "f32", base, adapter)
        kept = read(gq_source, "kept", base, adapter)
        worst, changed = 0.0, 0
        assert sorted(found) == sorted(merged), sorted(set(found) ^ set(merged))
        for key, value in merged.items():
            change = (value - original[key]).abs().max().item()
            changed += change > 0
            error = (found[key] - value).abs().max().item()
            assert error <= LIMIT * max(change, value.abs().max().item()), f"{name}: {key}: {error:.2e} of {change:.2e}"
            worst = max(worst, error / change if change else error)
            assert kept[key].dtype == dtype and torch.equal(kept[key], found[key].to(dtype)), f"{name}: {key} as kept"
        print(f"adapter, {name}, base {dtype}: {changed} of {len(merged)} tensors changed, largest difference "
              f"{worst:.1e} of the change")
        assert changed > 0


def check_other_model(gq_source):
    with tempfile.TemporaryDirectory() as folder:
        base, adapter = os.path.join(folder, "base"), os.path.join(folder, "adapter")
        base_model().save_pretrained(base)
        other = transformers.LlamaForCausalLM(transformers.LlamaConfig(**CONFIG | {"hidden_size": 32}))
        peft.get_peft_model(other, peft.LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(adapter)
        run = subprocess.run([gq_source, "f32", base, os.path.join(folder, "out"), adapter], capture_output=True,
                             text=True)
        assert run.returncode != 0 and "does not fit" in run.stderr and "q_proj.weight" in run.stderr, run.stderr
        print("adapter of another model:", run.stderr.strip()[:200])


def check_fp8(gq_source):
    every = torch.arange(256, dtype=torch.uint8)
    finite = every[every.view(torch.float8_e4m3fn).float().isfinite()]
    with tempfile.TemporaryDirectory() as folder:
        base = os.path.join(folder, "base")
        model = base_model()
        model.save_pretrained(base)
        tensors, expected, block = {}, {}, (48, 32)
        generator = torch.Generator().manual_seed(5)
        for name, value in load_file(os.path.join(base, "model.safetensors")).items():
            tensors[name] = expected[name] = value
            if "_proj" not in name:
                continue
            rows, cols = value.shape
            codes = finite[torch.randint(len(finite), (rows, cols), generator=generator)].view(torch.float8_e4m3fn)
            scales = 0.01 * torch.rand(-(-rows // block[0]), -(-cols // block[1]), generator=generator)
            tensors[name], tensors[name + "_scale_inv"] = codes, scales
            wide = scales.repeat_interleave(block[0], 0)[:rows].repeat_interleave(block[1], 1)[:, :cols]
            expected[name] = codes.float() * wide
        save_file(tensors, os.path.join(base, "model.safetensors"), metadata={"format": "pt"})
        path = os.path.join(base, "config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config | {"quantization_config": {"quant_method": "fp8", "weight_block_size": block}}, file)
        found, kept = read(gq_source, "f32", base), read(gq_source, "kept", base)
        assert sorted(found) == sorted(expected), sorted(set(found) ^ set(expected))
        for name, value in expected.items():
            assert torch.equal(found[name], value), name
            assert torch.equal(kept[name], value.to(torch.bfloat16) if "_proj" in name else value), name
        with open(os.path.join(folder, "out", "config.json"), encoding="utf-8") as file:
            assert "quantization_config" not in json.load(file)
        out = os.path.join(folder, "out")
        made = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
        model.load_state_dict(expected)
        ids = torch.tensor([list(range(1, 60))])
        with torch.no_grad():
            ours, theirs = made(ids).logits.numpy(), model(ids).logits.numpy()
        error = numpy.linalg.norm(ours - theirs) / numpy.linalg.norm(theirs)
        print(f"fp8: every finite code as torch has it; logits with kept weights {error:.1e} away")
        assert error < 0.05


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    for name, config in adapters():
        check_adapter(sys.argv[1], name, config, torch.float32)
    check_adapter(sys.argv[1], "plain", next(adapters())[1], torch.bfloat16)
    check_other_model(sys.argv[1])
    check_fp8(sys.argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
