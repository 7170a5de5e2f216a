#!/usr/bin/env python3
"""Held-out perplexity of the small model beside a unigram model's, and greedy samples.

usage: evaluate.py MODEL_DIR CORPUS_DIR        (CORPUS_DIR holds train.bin, as prepare_data.py wrote it)
The unigram model is the best one there is for the training tokens: their frequencies, add-one smoothed, per language
mixture as trained.  Texts: models/data/evaluation.{en,ko}.txt, windows of 512 tokens, fp32.
"""
import math, os, sys
import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

PROMPTS = ["The city of", "First Citizen:\n", "A baker sells 12 loaves of bread each day. How many",
           "제1조(목적) 이 법은", "이 영화는 정말", "질문: 오늘 너무 힘들어\n대답:"]


def main():
    folder, corpus = sys.argv[1:3]
    data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    counts = np.bincount(np.fromfile(os.path.join(corpus, "train.bin"), dtype=np.uint16), minlength=8192) + 1.0
    unigram = torch.from_numpy(np.log(counts / counts.sum()))
    for language in ("en", "ko"):
        ids = tokenizer.encode(open(f"{data}/evaluation.{language}.txt", encoding="utf-8").read()).ids
        rows = torch.tensor(ids[: len(ids) // 512 * 512]).view(-1, 512)
        total = 0.0
        with torch.no_grad():
            for row in rows.split(8):
                logits = model(row).logits[:, :-1]
                total += torch.nn.functional.cross_entropy(logits.reshape(-1, 8192), row[:, 1:].reshape(-1),
                                                           reduction="sum").item()
        count = rows.shape[0] * 511
        base = -unigram[rows[:, 1:].reshape(-1)].sum().item()
        ours, theirs = math.exp(total / count), math.exp(base / count)
        print(f"{language}: tokens {count} perplexity {ours:.2f} unigram {theirs:.2f} ratio {ours / theirs:.4f}")
        if ours > theirs / 3:
            sys.exit(f"{language}: perplexity is above a third of the unigram model's")
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer.encode(prompt).ids])
        with torch.no_grad():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False,
                                 pad_token_id=1)
        print("---\n" + tokenizer.decode(out[0].tolist()))


if __name__ == "__main__":
    main()
