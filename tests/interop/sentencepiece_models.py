"""Our token ids from tokenizer.model beside SentencePiece's own.

usage: sentencepiece_models.py GQ_TOKENIZE_BINARY TRAINING_TEXT [--model MODEL]... TEXT...

Small BPE models, trained here on the text, and every MODEL, on whole files and on their first lines one by one. Models
that we do not read (unigram; a normalization of their own) must be refused by name. Exit status 1 and the first
difference if anything differs.
"""

import argparse
import array
import os
import subprocess
import sys
import tempfile

import sentencepiece

COMMON = dict(model_type="bpe", vocab_size=1500, minloglevel=2, num_threads=1, normalization_rule_name="identity")
# Name: options, and what ours must say if it is to refuse.
MODELS = {
    "llama": (dict(byte_fallback=True, remove_extra_whitespaces=False), None),
    "user_defined": (dict(byte_fallback=True, user_defined_symbols=["<sep>", "한국", "<sep><sep>"]), None),
    "unknown": (dict(character_coverage=0.98), None),
    "no_prefix": (dict(byte_fallback=True, add_dummy_prefix=False, remove_extra_whitespaces=False), None),
    "numbers": (dict(byte_fallback=True, split_digits=True, allow_whitespace_only_pieces=True), None),
    "nfkc": (dict(normalization_rule_name="nmt_nfkc"), 'normalization "nmt_nfkc" is not supported'),
    "unigram": (dict(model_type="unigram"), "a SentencePiece model of type unigram is not supported"),
    "suffix": (dict(treat_whitespace_as_suffix=True), "treat_whitespace_as_suffix is not supported"),
}
HARD = ["", " ", "   ", "a", "  two  spaces  ", "<sep>x<sep><sep> <sep>", "한국<sep>한국어", "\t\n\r ", "\U0001fae9 é 龘 한국",
        "▁", "▁▁ ▁", "123 4567", "<s> </s> <unk> <0x41>", "\u200b\u00a0 x", "zero\0byte"]


def run_ours(binary, model, text):
    """(ids without the <s> in front, or None; what it said)."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = os.path.join(folder, "text"), os.path.join(folder, "ids")
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        done = subprocess.run([binary, model, path, out], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return None, done.stderr.strip()
        ids = array.array("i")
        with open(out, "rb") as file:
            ids.frombytes(file.read())
    return ids.tolist(), done.stdout


def same(binary, model, processor, text, what):
    ours, said = run_ours(binary, model, text)
    if ours is None:
        print(f"FAIL {model} {what}: {said}")
        return False
    theirs = [processor.bos_id(), *processor.encode(text)]
    if ours == theirs:
        return True
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    near = slice(max(0, at - 3), at + 5)
    print(f"FAIL {model} {what}: token {at} of {len(ours)} (ours) and {len(theirs)} (theirs)")
    print(f"  ours   {processor.id_to_piece(ours[near])}\n  theirs {processor.id_to_piece(theirs[near])}")
    return False


def compare(binary, model, texts):
    processor = sentencepiece.SentencePieceProcessor(model_file=model)
    results = [same(binary, model, processor, text, repr(text)) for text in HARD]
    for path in texts:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        results.append(same(binary, model, processor, text, path))
    print(f"{'ok  ' if all(results) else 'FAIL'} {model}: {sum(results)} of {len(results)} texts equal", flush=True)
    return all(results)


def refuses(binary, model, message):
    ours, said = run_ours(binary, model, "a")
    refused = ours is None and message in said
    print(f"{'ok  ' if refused else 'FAIL'} {model}: {said}")
    return refused


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("training_text")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("text", nargs="+")
    args = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (options, refusal) in MODELS.items():
            prefix = os.path.join(folder, name)
            sentencepiece.SentencePieceTrainer.train(
                input=args.training_text, model_prefix=prefix, **{**COMMON, **options}
            )
            model = prefix + ".model"
            results.append(refuses(args.binary, model, refusal) if refusal else compare(args.binary, model, args.text))
        results += [compare(args.binary, model, args.text) for model in args.model]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
