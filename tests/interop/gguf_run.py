#!/usr/bin/env python3
"""A whole run from a GGUF file, against the same run from the Hugging Face folder that the file was made from.

usage: gguf_run.py GRIDQUANT_BINARY MODEL_DIR CHECKPOINT_OF_MODEL_DIR OUT

MODEL_DIR (bf16 Llama with a byte-level BPE of Llama 3's kind) is written as GGUF by the gguf package: BF16 matrices,
F32 norms, vocabulary, merges. The same weights and the same tokens must give the same codes: every quantized tensor of
the two checkpoints is compared bit by bit, every kept one by value. Our independent reader loads the result.
"""

import json
import os
import shutil
import subprocess
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import torch
import transformers

import checkpoints
import gguf_logits

BITS = ["bits=4", "symmetric=true", "groupSize=64"]


def write_gguf(model_dir, path):
    config = transformers.AutoConfig.from_pretrained(model_dir)
    writer = gguf.GGUFWriter(path, "llama")
    gguf_logits.keys(writer, "llama", config)
    with open(os.path.join(model_dir, "tokenizer.json"), encoding="utf-8") as file:
        tokenizer = json.load(file)
    by_id = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    special = {token["content"] for token in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([token for token, _ in by_id])
    writer.add_token_types([3 if token in special else 1 for token, _ in by_id])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_add_bos_token(True)
    for name, tensor in checkpoints.read_tensors(model_dir).items():
        array = tensor.float().numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        array = gguf_logits.permuted(array, heads) if heads else array
        kind = gguf.GGMLQuantizationType.F32 if array.ndim == 1 else gguf.GGMLQuantizationType.BF16
        writer.add_tensor(gguf_logits.gguf_name("llama", name), gguf.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    gridquant, model_dir, reference, out = sys.argv[1:]
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    path = os.path.join(out, "small.gguf")
    write_gguf(model_dir, path)
    params = [argument for setting in [f"model={path}", *BITS] for argument in ("-p", setting)]
    pipeline = os.path.join(os.path.dirname(os.path.abspath(__file__)), "small.yaml")
    subprocess.run([gridquant, "run", pipeline, "--workdir", os.path.join(out, "work"), "--output",
                    os.path.join(out, "result"), *params], check=True)
    made = os.path.join(out, "result", "checkpoint")
    ours, theirs = checkpoints.read_tensors(made), checkpoints.read_tensors(reference)
    assert sorted(ours) == sorted(theirs), sorted(set(ours) ^ set(theirs))
    for name, tensor in theirs.items():
        same = ours[name].float().equal(tensor.float()) if tensor.is_floating_point() else ours[name].equal(tensor)
        assert same, name
    weights, quantized = checkpoints.dequantized_weights(made)
    assert len(quantized) == 42 and all(torch.isfinite(weight).all() for weight in weights.values())
    text = "The harbour was quiet. 항구는 조용했다. 2026"
    ids = [transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"] for folder in (made, model_dir)]
    assert ids[0] == ids[1], ids
    print(f"{len(ours)} tensors, {len(quantized)} quantized weights: the same from GGUF as from the folder")
    return 0


if __name__ == "__main__":
    sys.exit(main())
