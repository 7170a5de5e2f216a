#!/usr/bin/env python3
"""Vocabularies of GGUF files: the tokenizer.json that gridquant makes of them, on llama.cpp's own test vectors.

usage: gguf_vocab.py GQ_SOURCE_BINARY FOLDER

FOLDER holds ggml-vocab-NAME.gguf with .inp (texts) and .out (ids). Hugging Face tokenizers, loaded with our file, must
give the ids that llama.cpp gives (our own tokenizer: tests/unit/formats/gguf_vocab_test.cc). Files of other kinds must
be refused by name.
"""

import os
import subprocess
import sys
import tempfile

import tokenizers

READ = ["deepseek-coder", "gpt-2", "llama-spm", "mpt", "phi-3", "refact", "starcoder"]
REFUSED = {"bert-bge": "\"bert\"", "falcon": "\"falcon\"", "deepseek-llm": "\"deepseek-llm\"", "gpt-neox": "\"\""}
SEPARATOR = "\n__ggml_vocab_test__\n"


def make(gq_source, path, folder):
    return subprocess.run([gq_source, "tokenizer", path, folder], capture_output=True, text=True)


def check(gq_source, folder, name):
    path = os.path.join(folder, f"ggml-vocab-{name}.gguf")
    with open(path + ".inp", encoding="utf-8", newline="") as file:
        texts = file.read().split(SEPARATOR)
    with open(path + ".out", encoding="utf-8") as file:
        ids = [[int(i) for i in line.split()] for line in file.read().split("\n")]
    assert len(texts) > 30 and len(ids) >= len(texts), (len(texts), len(ids))
    with tempfile.TemporaryDirectory() as scratch:
        run = make(gq_source, path, scratch)
        assert run.returncode == 0, run.stderr
        json_path = os.path.join(scratch, "tokenizer.json")
        theirs = tokenizers.Tokenizer.from_file(json_path)
        bad = 0
        for text, expected in zip(texts, ids):
            found = theirs.encode(text, add_special_tokens=False).ids
            if found != expected:
                bad += 1
                print(f"{name}: {text!r}: {found} instead of {expected}")
        print(f"{name}: {len(texts)} texts, {bad} differences")
        return bad


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    gq_source, folder = sys.argv[1:]
    bad = sum(check(gq_source, folder, name) for name in READ)
    for name, message in REFUSED.items():
        with tempfile.TemporaryDirectory() as scratch:
            run = make(gq_source, os.path.join(folder, f"ggml-vocab-{name}.gguf"), scratch)
        assert run.returncode != 0 and message in run.stderr, (name, run.stderr)
        print(f"refused: {run.stderr.strip()[-160:]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
