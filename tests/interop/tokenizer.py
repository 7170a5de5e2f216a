"""Our token ids beside Hugging Face tokenizers', on whole files.

usage: tokenizer.py GQ_TOKENIZE_BINARY TOKENIZER_JSON TEXT...   (a folder: every file in it)

Exit status 1 and the first difference if any file differs; a text that is not UTF-8 must be refused by both.
Prints MB/s of processor time of both (one thread each), which is information and no verdict.
"""

import array
import os
import re
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402  (reads the variable when imported)


def our_ids(binary, tokenizer_path, text_path):
    """(ids, seconds, note), or (None, 0, what it said) if it refuses the text."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "ids")
        done = subprocess.run([binary, tokenizer_path, text_path, out], capture_output=True, text=True)
        if done.returncode != 0:
            return None, 0.0, done.stderr.strip()
        ids = array.array("i")
        with open(out, "rb") as file:
            ids.frombytes(file.read())
    seconds = float(re.search(r"encode_cpu_s ([0-9.]+)", done.stdout).group(1))
    note = " ".join(line for line in done.stdout.splitlines() if line.startswith("the decoded"))
    return ids.tolist(), seconds, note


def first_difference(tokenizer, ours, theirs):
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    window = slice(max(0, at - 3), at + 5)

    def show(ids):
        return [(i, tokenizer.id_to_token(i)) for i in ids[window]]

    head = f"token {at} of {len(ours)} (ours) and {len(theirs)} (theirs):"
    return f"{head}\n  ours   {show(ours)}\n  theirs {show(theirs)}"


def compare(binary, tokenizer_path, tokenizer, path):
    with open(path, "rb") as file:
        content = file.read()
    ours, our_seconds, note = our_ids(binary, tokenizer_path, path)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        refused = ours is None and f"byte {error.start}" in note
        print(f"{'ok  ' if refused else 'FAIL'} {path}: not UTF-8 at byte {error.start}; ours: {note or 'accepted it'}")
        return refused
    if ours is None:
        print(f"FAIL {path}: ours refuses it: {note}")
        return False
    start = time.process_time()
    theirs = tokenizer.encode(text).ids
    their_seconds = time.process_time() - start
    same = ours == theirs
    our_speed, their_speed = (len(content) / 1e6 / max(seconds, 1e-9) for seconds in (our_seconds, their_seconds))
    verdict = "ok  " if same else "FAIL"
    speeds = f"MB/s ours {our_speed:.1f}, theirs {their_speed:.2f}"
    print(f"{verdict} {path}: {len(theirs)} tokens; {speeds} {note}", flush=True)
    if not same:
        print(first_difference(tokenizer, ours, theirs))
    return same


def files_of(paths):
    for path in paths:
        if not os.path.isdir(path):
            yield path
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (os.path.join(folder, name) for name in sorted(names))


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    binary, tokenizer_path, *paths = sys.argv[1:]
    tokenizer = Tokenizer.from_file(tokenizer_path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    results = [compare(binary, tokenizer_path, tokenizer, path) for path in files_of(paths)]
    print(f"{tokenizer_path}: {sum(results)} of {len(results)} files equal")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
