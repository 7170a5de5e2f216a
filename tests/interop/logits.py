#!/usr/bin/env python3
"""Logits of our forward pass against transformers in fp32.

usage: logits.py GQ_LOGITS_BINARY MODEL_DIR TEXT_FILE...

The first tokens of each text go through both. fp32 must agree to 1e-4 (relative error of the logit vector, norms over
all tokens); bf16 must stay within the noise that transformers' own bf16 shows on the same tokens (at most 1.5 times
it). Exit code 1 when a figure is above its limit.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers

TOKENS = 200  # not a multiple of any tile
FP32_LIMIT = 1e-4
BF16_FACTOR = 1.5


def relative_error(ours, reference):
    return float(numpy.linalg.norm(ours - reference) / numpy.linalg.norm(reference))


def our_logits(binary, model, ids, compute):
    with tempfile.TemporaryDirectory() as folder:
        ids_file = pathlib.Path(folder, "ids.txt")
        out_file = pathlib.Path(folder, "logits.f32")
        ids_file.write_text(" ".join(str(i) for i in ids))
        subprocess.run([binary, model, ids_file, out_file, compute], check=True)
        return numpy.fromfile(out_file, dtype=numpy.float32).reshape(len(ids), -1).astype(numpy.float64)


def their_logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double().numpy()


def main():
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    binary, folder, texts = sys.argv[1], sys.argv[2], sys.argv[3:]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    models = {name: transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
              for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    bad = 0
    for text in texts:
        ids = tokenizer(pathlib.Path(text).read_text()[:20000])["input_ids"][:TOKENS]
        reference = their_logits(models["fp32"], ids)
        noise = relative_error(their_logits(models["bf16"], ids), reference)
        for compute, limit in (("fp32", FP32_LIMIT), ("bf16", BF16_FACTOR * noise)):
            error = relative_error(our_logits(binary, folder, ids, compute), reference)
            verdict = "ok" if error <= limit else "ABOVE THE LIMIT"
            bad += error > limit
            print(f"{pathlib.Path(text).name}: {len(ids)} tokens, {compute}: relative error {error:.3e}, "
                  f"limit {limit:.3e}: {verdict}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
