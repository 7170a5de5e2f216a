"""KL divergence, perplexity and top-1 agreement of quantized checkpoints against the original, by one evaluator that
shares no code with gridquant: transformers' forward pass in fp32 over independently dequantized weights.

usage: evaluate.py --model FOLDER (--text FILE | --tokens FILE.bin) [--length 512] [--sequences N] NAME=FOLDER...

Prints one JSON object: name -> figures, in nats per predicted token.
"""

import argparse
import json
import math

import torch
from tokenizers import Tokenizer

from checkpoints import load_plain


def windows(args):
    if args.tokens:
        import numpy

        ids = torch.from_numpy(numpy.fromfile(args.tokens, dtype="<i4").astype("int64"))
    else:
        with open(args.text, encoding="utf-8") as file:
            text = file.read()
        tokenizer = Tokenizer.from_file(args.model + "/tokenizer.json")
        ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids)
    count = len(ids) // args.length
    if args.sequences:
        count = min(count, args.sequences)
    return ids[: count * args.length].reshape(count, args.length)


class Figures:
    def __init__(self):
        self.tokens = 0
        self.kl = self.kl_max = self.nll_original = self.nll_quantized = 0.0
        self.agree = 0

    def add(self, original, quantized, targets):
        """Logits of all positions but the last, and the ids that came next."""
        p, q = original.log_softmax(-1), quantized.log_softmax(-1)
        kl = (p.exp() * (p - q)).sum(-1).double()
        self.tokens += len(targets)
        self.kl += kl.sum().item()
        self.kl_max = max(self.kl_max, kl.max().item())
        self.nll_original -= p.gather(-1, targets[:, None]).double().sum().item()
        self.nll_quantized -= q.gather(-1, targets[:, None]).double().sum().item()
        self.agree += (p.argmax(-1) == q.argmax(-1)).sum().item()

    def result(self):
        return {"tokens": self.tokens, "kl_mean": self.kl / self.tokens, "kl_max": self.kl_max,
                "perplexity_original": math.exp(self.nll_original / self.tokens),
                "perplexity_quantized": math.exp(self.nll_quantized / self.tokens),
                "top1_agreement": self.agree / self.tokens}


@torch.inference_mode()
def evaluate(model_folder, sequences, folders):
    original = load_plain(model_folder)
    results = {}
    for name, folder in folders.items():
        quantized, figures = load_plain(folder), Figures()
        for row in sequences:
            row = row[None]
            figures.add(original(row).logits[0, :-1].float(), quantized(row).logits[0, :-1].float(), row[0, 1:])
        results[name] = figures.result()
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text")
    source.add_argument("--tokens")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--sequences", type=int, default=0, help="only the first ones; 0: all")
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=FOLDER")
    args = parser.parse_args()
    folders = dict(pair.split("=", 1) for pair in args.checkpoints)
    print(json.dumps(evaluate(args.model, windows(args), folders)))


if __name__ == "__main__":
    main()
