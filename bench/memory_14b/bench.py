"""Peak resident memory of quantize: at 14B shapes, and that it does not grow with the number of blocks. Called by
./scripts/bench memory_14b; prints RESULT lines last and leaves everything in results/memory_14b.json. Needs no package.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.path.join(ROOT, "build/release/bin")
GIB = 1 << 30
GROWTH_BLOCKS = (4, 8, 16)
LIMIT_GIB = 6.0


def say(message):
    print(f"== {message}", file=sys.stderr, flush=True)


def artifacts(folder):
    """What each stage left: its name in the catalog -> its summary."""
    found = {}
    for root, _, files in os.walk(folder):
        if "artifact.json" in files:
            with open(os.path.join(root, "artifact.json"), encoding="utf-8") as file:
                artifact = json.load(file)
            found[artifact["uses"]] = artifact["summary"]
    return found


def quantize(model, work, options):
    """One whole run in a fresh work folder; its checkpoint is deleted."""
    shutil.rmtree(work, ignore_errors=True)
    command = [os.path.join(BIN, "gridquant"), "run", os.path.join(HERE, "pipeline.yaml"), "-p", f"model={model}",
               "-p", f"text={ROOT}/models/data/calibration.en.txt", "--workdir", os.path.join(work, "state"),
               "--output", os.path.join(work, "out")]
    for option in options:
        command += ["-p", option]
    with open(work + ".log", "w", encoding="utf-8") as log:
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if status != 0:
        with open(work + ".log", encoding="utf-8") as log:
            sys.exit(f"error: gridquant ended with status {status}:\n" + log.read()[-3000:])
    summaries = artifacts(work)
    shutil.rmtree(work)
    done = summaries["quantize"]
    return {"peak_bytes": done["peak_rss_bytes"], "forecast_bytes": summaries["plan"]["memory_bytes"],
            "seconds": sum(done["phases"].values()), "phases": done["phases"], "compute": done["compute"],
            "threads": done["threads"], "blocks": done["blocks"]}


def make_model(shape, blocks, folder):
    subprocess.run([os.path.join(BIN, "bench_model"), shape, str(blocks), folder], check=True)
    shutil.copy(os.path.join(ROOT, "models/small/tokenizer.json"), folder)


def report(name, run):
    ratio = run["forecast_bytes"] / run["peak_bytes"]
    say(f"{name}: peak {run['peak_bytes'] / GIB:.3f} GiB, forecast {run['forecast_bytes'] / GIB:.3f} GiB "
        f"({ratio:.3f} times), {run['seconds']:.0f} s, {run['compute']}, {run['threads']} threads")
    return ratio


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="qwen2.5-14b")
    parser.add_argument("--blocks", type=int, default=48)
    parser.add_argument("--work", default=os.path.join(ROOT, "build/memory_14b"), help="needs 40 GB for 48 blocks")
    parser.add_argument("--keep", action="store_true", help="leave the model for the next run")
    parser.add_argument("-p", action="append", default=[], help="parameter of the pipeline, such as samples=32")
    args = parser.parse_args()
    results = {}
    os.makedirs(args.work, exist_ok=True)
    growth = os.path.join(args.work, "growth")
    for blocks in GROWTH_BLOCKS:
        make_model("llama-fifth", blocks, growth)
        results[f"blocks_{blocks}"] = quantize(growth, os.path.join(args.work, "run"), args.p)
        report(f"a fifth of the widths, {blocks} blocks", results[f"blocks_{blocks}"])
    shutil.rmtree(growth)
    model = os.path.join(args.work, args.shape)
    say(f"making {args.shape}, {args.blocks} blocks")
    make_model(args.shape, args.blocks, model)
    say("quantizing it")
    run = results["full"] = quantize(model, os.path.join(args.work, "run"), args.p)
    if not args.keep:
        shutil.rmtree(model)
    ratio = report(args.shape, run)
    with open(os.path.join(ROOT, "bench/results/memory_14b.json"), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    for blocks in GROWTH_BLOCKS:
        print(f"RESULT peak_rss_gib_blocks_{blocks} {results[f'blocks_{blocks}']['peak_bytes'] / GIB:.3f} GiB")
    print(f"RESULT seconds {run['seconds']:.0f} s")
    print(f"RESULT forecast_gib {run['forecast_bytes'] / GIB:.3f} GiB")
    print(f"RESULT forecast_over_peak {ratio:.3f} 1")
    print(f"RESULT peak_rss_gib {run['peak_bytes'] / GIB:.3f} GiB")
    if run["peak_bytes"] > LIMIT_GIB * GIB:
        sys.exit(f"error: more than {LIMIT_GIB} GiB")


if __name__ == "__main__":
    main()
