"""Our token ids beside Hugging Face tokenizers' on (nearly) every code point, part by part: normalizers,
pre-tokenizers, and the regular expressions of well-known models. Their tables are of several Unicode versions; this is
what proves ours.

usage: tokenizer_unicode.py GQ_TOKENIZE_BINARY

Exit status 1 and the first difference of each part that differs.
"""

import json
import os
import sys
import tempfile

from make_tokenizer_vectors import DEEPSEEK, GPT4O, LLAMA3, base, patched, sequence
from tokenizer import compare
from tokenizers import Tokenizer

QWEN2 = LLAMA3.replace("{1,3}", "")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Blocks of characters that are all alike: every 61st of them will do.
ALIKE = [(0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0x17000, 0x18CD5), (0x20000, 0x10FFFF)]
SURE = [*range(0x2F7F0, 0x2FA40), *range(0xE0000, 0xE0200), 0x2A6DF, 0x2A6E0, 0x2EBE0, 0x2EBF0, 0x2EE5D, 0x323AF]


def code_points():
    for c in range(0x110000):
        if 0xD800 <= c <= 0xDFFF:
            continue
        if c % 61 == 0 or c in SURE or not any(first <= c <= last for first, last in ALIKE):
            yield chr(c)


def split(pattern):
    return dict(type="Split", pattern=dict(Regex=pattern), behavior="Isolated", invert=False)


def parts():
    """(name, tokenizer.json, text). Text for normalizers comes back byte for byte; for pre-tokenizers all is unknown
    and fused within a word, so that the number of tokens says where words end."""
    every = list(code_points())
    start = base()
    start["model"]["merges"] = []
    marked = "\n".join(f"a{c}\u0345\u0323" for c in every)
    for name in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"]:
        yield name, patched(start, dict(normalizer=dict(type=name), pre_tokenizer=dict(use_regex=False))), marked
    model = dict(start["model"], vocab={"<unk>": 0, "a": 1}, unk_token="<unk>", fuse_unk=True)
    words = dict(start, model=model, added_tokens=[])
    beside = "a".join(f"é{c}é" for c in every)
    for name in ["Punctuation", "Whitespace", "WhitespaceSplit"]:
        yield name, dict(words, pre_tokenizer=dict(type=name)), beside
    yield "Digits", dict(words, pre_tokenizer=dict(type="Digits", individual_digits=True)), beside
    between = "a".join(f"é{c}é'{c}{c}1{c}2 {c}" for c in every)
    for name, pattern in dict(qwen2=QWEN2, llama3=LLAMA3, gpt2=GPT2, gpt4o=GPT4O, deepseek=DEEPSEEK).items():
        yield name, dict(words, pre_tokenizer=sequence("pretokenizers", split(pattern))), between


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, document, text in parts():
            path, text_path = (os.path.join(folder, f"{name}.{suffix}") for suffix in ("json", "txt"))
            with open(path, "w", encoding="utf-8") as file:
                json.dump(document, file)
            with open(text_path, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            results.append(compare(sys.argv[1], path, Tokenizer.from_file(path), text_path))
    print(f"{sum(results)} of {len(results)} parts equal")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
