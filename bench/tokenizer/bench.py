"""Encoding on one core: ours beside Hugging Face tokenizers, the same lines of English and Korean, ids compared.

Called by ./scripts/bench tokenizer; prints RESULT lines last and leaves everything in results/tokenizer.json. The
project's own tokenizer on its own texts is always measured; with the shared test data (../shared/data, or
GRIDQUANT_TEST_DATA) larger texts and real tokenizers are.
"""

import argparse
import array
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizers  # noqa: E402  (reads the variables when imported)

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SHARED = os.environ.get("GRIDQUANT_TEST_DATA", os.path.join(ROOT, "../shared/data"))
REAL = ("qwen3", "llama3_1", "gemma3")
TEXTS = {
    "en": ("texts/wikitext-2-raw/wiki.test.raw",),
    "ko": ("texts/derived/ko_law_sample.txt", "texts/derived/ko_kaist-ud-test.txt", "texts/nsmc"),
}
MIB = 1 << 20


def say(message):
    print(f"== {message}", file=sys.stderr, flush=True)


def files_of(path):
    """The path itself, or every file of the folder."""
    if not os.path.isdir(path):
        return [path]
    return [os.path.join(path, name) for name in sorted(os.listdir(path))]


def lines_of(language, most):
    """Lines that are not empty, at most `most` bytes of each file, and where they are from."""
    paths, sources = [os.path.join(SHARED, path) for path in TEXTS[language]], list(TEXTS[language])
    if not all(os.path.exists(path) for path in paths):
        say(f"{language}: the shared texts are not there, models/data it is")
        sources = [f"models/data/{kind}.{language}.txt" for kind in ("calibration", "evaluation")]
        paths = [os.path.join(ROOT, path) for path in sources]
    lines = []
    for path in paths:
        for file in files_of(path):
            with open(file, encoding="utf-8") as text:
                lines += [line for line in text.read(most).splitlines() if line.strip()]
    return lines, sources


def ours(tokenizer_path, lines, passes):
    """(ids of each line in one list, best seconds)."""
    binary = os.path.join(ROOT, "build/release/bin/bench_tokenizer")
    with tempfile.TemporaryDirectory() as folder:
        text, out = os.path.join(folder, "text"), os.path.join(folder, "ids")
        with open(text, "w", encoding="utf-8", newline="") as file:
            file.write("\n".join(lines))
        command = [binary, tokenizer_path, text, out, str(passes)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"error: {' '.join(command)}: {done.stderr}")
        ids = array.array("i")
        with open(out, "rb") as file:
            ids.frombytes(file.read())
    return ids.tolist(), float(re.search(r"best_s ([0-9.]+)", done.stdout).group(1))


def theirs(tokenizer, lines, passes):
    """(ids of each line in one list, best seconds, the way that was best)."""
    ways = {
        "encode": lambda: [tokenizer.encode(line, add_special_tokens=False) for line in lines],
        "encode_batch": lambda: tokenizer.encode_batch(lines, add_special_tokens=False),
        "encode_batch_fast": lambda: tokenizer.encode_batch_fast(lines, add_special_tokens=False),
    }
    best, best_way, encodings = None, None, None
    for name, way in ways.items():
        for _ in range(passes):
            start = time.perf_counter()
            encodings = way()
            seconds = time.perf_counter() - start
            if best is None or seconds < best:
                best, best_way = seconds, name
    return [i for encoding in encodings for i in encoding.ids], best, best_way


def measure(name, path, language, args):
    lines, sources = lines_of(language, args.most)
    size = sum(len(line.encode()) for line in lines)
    our_ids, our_seconds = ours(path, lines, args.passes)
    tokenizer = tokenizers.Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    their_ids, their_seconds, way = theirs(tokenizer, lines, args.peer_passes)
    result = dict(
        tokenizer=name, language=language, texts=sources, lines=len(lines), bytes=size, tokens=len(our_ids),
        same_ids=our_ids == their_ids, ours_mib_per_s=size / MIB / our_seconds,
        hf_mib_per_s=size / MIB / their_seconds, hf_way=way, ratio=their_seconds / our_seconds,
    )
    say(f"{name} {language}: {json.dumps(result)}")
    return result


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return re.search(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE).group(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=5, help="of ours, each with nothing remembered; the best counts")
    parser.add_argument("--peer-passes", type=int, default=2, help="of each of the peer's three ways; the best counts")
    parser.add_argument("--most", type=int, default=MIB // 2, help="characters of each file")
    args = parser.parse_args()
    paths = {"small": os.path.join(ROOT, "models/small/tokenizer.json")}
    for name in REAL:
        path = os.path.join(SHARED, f"tokenizers/{name}/tokenizer.json")
        if os.path.exists(path):
            paths[name] = path
        else:
            say(f"{path} is not there: {name} is left out")
    results = [measure(name, path, language, args) for name, path in paths.items() for language in TEXTS]
    about = dict(
        date=datetime.date.today().isoformat(), cpu=cpu_name(), kernel=platform.release(),
        peer=f"tokenizers {tokenizers.__version__}", results=results,
    )
    with open(os.path.join(ROOT, "bench/results/tokenizer.json"), "w", encoding="utf-8") as file:
        file.write(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    for result in results:
        metric = f"RESULT tokenizer_{result['tokenizer']}_{result['language']}"
        print(f"{metric}_ours_mib_per_s {result['ours_mib_per_s']:.1f} MiB/s")
        print(f"{metric}_hf_mib_per_s {result['hf_mib_per_s']:.2f} MiB/s")
        print(f"{metric}_ratio {result['ratio']:.1f} times")
    if not all(result["same_ids"] for result in results):
        sys.exit("error: ids differ")


if __name__ == "__main__":
    main()
