#!/usr/bin/env python3
"""Every dense architecture that we know, with every option that changes its arithmetic: logits of our forward pass
against transformers' (eager attention) on tiny random checkpoints.

usage: architectures.py GQ_LOGITS_BINARY [SHARE OF]: all variants, or every OF-th from number SHARE (0 ...) on

For each variant and seed: sequences of several lengths, longer than the sliding window, also as a batch of
transformers; fp32 must agree to 1e-4 (relative error of the logits), bf16 must stay within 1.5 times the noise that
transformers' own bf16 shows. The options of a variant must show in the logits of transformers, or the check would not
see them. The configuration is read as transformers 5 writes it and as transformers 4 did. Exit code 1 when a figure
is above its limit.
"""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers

from architecture_variants import VARIANTS, legacy_config, random_model

FP32_LIMIT = 1e-4
BF16_FACTOR = 1.5
VISIBLE = 3e-3  # a changed option changes the logits by more than this
LENGTHS = (1, 37, 131, 200)  # the window of most variants is 24; attention's tiles are 64
BATCH = 3


def relative_error(ours, reference):
    return float(numpy.linalg.norm(ours - reference) / numpy.linalg.norm(reference))


class OurModel:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, pathlib.Path(folder)

    def logits(self, ids, compute):
        ids_file, out_file = self.folder / "ids.txt", self.folder / "logits.f32"
        ids_file.write_text(" ".join(str(i) for i in ids))
        subprocess.run([self.binary, self.folder, ids_file, out_file, compute], check=True)
        return numpy.fromfile(out_file, dtype=numpy.float32).reshape(len(ids), -1).astype(numpy.float64)


def load(folder, dtype):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def logits_of(model, ids):
    """Of a batch of sequences of one length; by a copy of the model, for some rotary embeddings remember lengths."""
    with torch.no_grad():
        return copy.deepcopy(model)(torch.tensor(ids)).logits.double().numpy()


def their_logits(folder, ids, dtype):
    return logits_of(load(folder, dtype), ids)


class Report:
    def __init__(self):
        self.bad = 0

    def check(self, what, figure, limit):
        fits = figure <= limit
        self.bad += not fits
        print(f"{what}: {figure:.2e}, limit {limit:.2e}: {'ok' if fits else 'ABOVE THE LIMIT'}")


def check_fp32(binary, variant, model, ids, folder, report):
    model.save_pretrained(folder)
    ours, theirs = OurModel(binary, folder), load(folder, torch.float32)
    worst = 0.0
    for length in LENGTHS:
        batch = [sequence[:length] for sequence in ids]
        reference = logits_of(theirs, batch)
        for sequence, expected in zip(batch, reference):
            worst = max(worst, relative_error(ours.logits(sequence, "fp32"), expected))
    report.check(f"{variant.name} fp32", worst, FP32_LIMIT)
    config_file = pathlib.Path(folder, "config.json")
    newer = config_file.read_text()
    before = ours.logits(batch[0], "fp32")
    config_file.write_text(json.dumps(legacy_config(json.loads(newer))))
    difference = float(numpy.abs(ours.logits(batch[0], "fp32") - before).max())
    report.check(f"{variant.name} config of transformers 4, difference", difference, 0.0)
    config_file.write_text(newer)
    return reference[0]


def check_bf16(binary, variant, model, ids, folder, report):
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
    reference = their_logits(folder, ids[:1], torch.float32)[0]
    noise = relative_error(their_logits(folder, ids[:1], torch.bfloat16)[0], reference)
    error = relative_error(OurModel(binary, folder).logits(ids[0], "bf16"), reference)
    report.check(f"{variant.name} bf16", error, BF16_FACTOR * noise)


def check_visible(variant, model, ids, reference, folder, report):
    """transformers without one of the options must give other logits."""
    for name, value in variant.without.items():
        model.save_pretrained(folder)
        config_file = pathlib.Path(folder, "config.json")
        config = json.loads(config_file.read_text())
        config[name] = value
        config_file.write_text(json.dumps(config))
        change = relative_error(their_logits(folder, ids[:1], torch.float32)[0], reference)
        if change < VISIBLE:
            report.bad += 1
            print(f"{variant.name}: {name} does not show in the logits ({change:.1e}): THE CHECK IS BLIND")


def main():
    if len(sys.argv) not in (2, 4):
        print(__doc__, file=sys.stderr)
        return 2
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    report = Report()
    share, of = (int(word) for word in sys.argv[2:] or (0, 1))
    for variant in VARIANTS[share::of]:
        for seed in range(variant.seeds):
            model = random_model(variant, seed)
            generator = torch.Generator().manual_seed(1000 + seed)
            vocabulary = variant.config.get_text_config().vocab_size
            ids = torch.randint(vocabulary, (BATCH, max(LENGTHS)), generator=generator).tolist()
            with tempfile.TemporaryDirectory() as folder:
                reference = check_fp32(sys.argv[1], variant, model, ids, folder, report)
                check_visible(variant, model, ids, reference, folder, report)
            with tempfile.TemporaryDirectory() as folder:
                check_bf16(sys.argv[1], variant, model, ids, folder, report)
    return 1 if report.bad else 0


if __name__ == "__main__":
    sys.exit(main())
