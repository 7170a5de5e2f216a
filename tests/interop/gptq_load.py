"""Our GPTQ checkpoint in other hands: read by a reader written from the format's description, by transformers with
GPTQModel's kernels, and by GPTQModel itself; each must give the logits of the same dequantized weights.

usage: gptq_load.py ORIGINAL TEXT CHECKPOINT... [--gq-logits BINARY] [--peers]

Without --peers only the independent reader is used (needs no GPTQModel). Exit status 1 if anything is above its limit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(len(os.sched_getaffinity(0))))
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

from checkpoints import dequantized_weights, load_plain, read_config, read_tensors, relative_error  # noqa: E402
from verdicts import Verdicts  # noqa: E402

TOKENS = 200
OUR_LIMIT = 1e-4   # fp32 products in another order
TRANSFORMERS_LIMIT = 1e-3
GPTQMODEL_LIMIT = 5e-3  # its fused CPU kernel works in 16 bits: 1.7e-3 measured on its own checkpoint


def check_structure(original, checkpoint, verdicts):
    """What loaders rely on: quantizers.md 2.1."""
    config = read_config(checkpoint)["quantization_config"]
    tensors, source = read_tensors(checkpoint), read_tensors(original)
    verdicts.fact("quant_method gptq, checkpoint_format gptq",
                  (config["quant_method"], config["checkpoint_format"]) == ("gptq", "gptq"))
    modules = [name[: -len(".qweight")] for name in tensors if name.endswith(".qweight")]
    verdicts.fact(f"{len(modules)} quantized modules", len(modules) > 0)
    bits = config["bits"]
    for module in modules:
        rows, columns = source[module + ".weight"].shape
        group = columns if config["group_size"] == -1 else config["group_size"]
        shapes = {"qweight": (columns * bits // 32, rows), "qzeros": (columns // group, rows * bits // 32),
                  "scales": (columns // group, rows), "g_idx": (columns,)}
        wrong = {part: tuple(tensors[f"{module}.{part}"].shape) for part, shape in shapes.items()
                 if tuple(tensors[f"{module}.{part}"].shape) != shape}
        trivial = torch.equal(tensors[module + ".g_idx"].long(), torch.arange(columns) // group)
        if wrong or not trivial or module + ".weight" in tensors:
            verdicts.fact(f"{module}: shapes {wrong}, g_idx trivial {trivial}", False)
    kept = [name for name in source if name.removesuffix(".weight") not in modules]
    same = all(name in tensors and torch.equal(tensors[name], source[name]) for name in kept)
    verdicts.fact(f"{len(kept)} tensors that are kept are the original's, bit for bit", same)


def our_logits(binary, checkpoint, ids):
    """gq-logits on the dequantized weights: our forward pass, their numbers."""
    with tempfile.TemporaryDirectory() as folder:
        weights, _ = dequantized_weights(checkpoint)
        save_file({name: tensor.contiguous() for name, tensor in weights.items()},
                  os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        config = read_config(checkpoint)
        config.pop("quantization_config")
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        with open(os.path.join(folder, "ids.txt"), "w", encoding="utf-8") as file:
            file.write(" ".join(str(i) for i in ids))
        out = os.path.join(folder, "logits.f32")
        subprocess.run([binary, folder, os.path.join(folder, "ids.txt"), out, "fp32"], check=True)
        return torch.from_numpy(numpy.fromfile(out, dtype=numpy.float32).reshape(len(ids), -1))


@torch.inference_mode()
def logits_of(model, ids):
    return model(torch.tensor([ids])).logits[0].float()


def check_peers(checkpoint, ids, reference, verdicts):
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, device_map="cpu")
    error = relative_error(logits_of(theirs, ids), reference)
    verdicts.error("transformers with GPTQModel's kernels", error, TRANSFORMERS_LIMIT)
    del theirs
    from gptqmodel import GPTQModel

    loaded = GPTQModel.load(checkpoint, device="cpu", dtype=torch.float32)
    verdicts.error("GPTQModel.load", relative_error(logits_of(loaded.model, ids), reference), GPTQMODEL_LIMIT)


def check_checkpoint(args, checkpoint, text, verdicts):
    ids = Tokenizer.from_file(os.path.join(checkpoint, "tokenizer.json")).encode(text).ids[:TOKENS]
    check_structure(args.original, checkpoint, verdicts)
    reference = logits_of(load_plain(checkpoint), ids)
    moved = relative_error(reference, logits_of(load_plain(args.original), ids))
    verdicts.fact(f"quantization moved the logits by {moved:.3f} (it did something, and no harm)", 1e-4 < moved < 0.5)
    if args.gq_logits:
        verdicts.error("our forward pass on the dequantized weights",
                       relative_error(our_logits(args.gq_logits, checkpoint, ids), reference), OUR_LIMIT)
    if args.peers:
        check_peers(checkpoint, ids, reference, verdicts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original")
    parser.add_argument("text")
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--gq-logits")
    parser.add_argument("--peers", action="store_true")
    args = parser.parse_args()
    with open(args.text, encoding="utf-8") as file:
        text = file.read(20000)
    verdicts = Verdicts()
    for checkpoint in args.checkpoints:
        print(f"--- {checkpoint}")
        check_checkpoint(args, checkpoint, text, verdicts)
    return 1 if verdicts.bad else 0


if __name__ == "__main__":
    sys.exit(main())
