"""W4 GPTQ of SmolLM2-135M-Instruct: gridquant beside GPTQModel and llm-compressor, same machine, same token ids, and
beside the floor. Called by ./scripts/bench gptq; prints RESULT lines last and leaves everything in results/gptq.json.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEERS = ("gptqmodel", "llmcompressor")

sys.path.insert(0, os.path.join(HERE, ".."))
import lib  # noqa: E402


class Bench:
    def __init__(self, args):
        self.args = args
        self.text = lib.calibration_text()
        self.work = os.path.abspath(args.work)
        self.results = {"environment": lib.environment(), "sequences": args.sequences, "length": args.length,
                        "text": os.path.basename(self.text), "runs": {}}
        os.makedirs(self.work, exist_ok=True)

    def path(self, *names):
        return os.path.join(self.work, *names)

    def ours(self, solver, compute, ranks=1):
        """One run in a fresh work folder."""
        name = f"ours-{solver}-{compute}" + (f"-{ranks}-ranks" if ranks > 1 else "")
        shutil.rmtree(self.path(name), ignore_errors=True)
        output = self.path(name, "out")
        seconds, peak = lib.run_measured(
            [os.path.join(self.args.bin, "gridquant"), "run", os.path.join(HERE, "smollm2.yaml"),
             "--workdir", self.path(name, "work"), "--output", output,
             "-p", f"model={self.args.model}", "-p", f"text={self.text}", "-p", f"solver={solver}",
             "-p", f"samples={self.args.sequences}", "-p", f"sequenceLength={self.args.length}",
             "-p", f"compute={compute}", "-p", f"ranks={ranks}"], self.path(name + ".log"))
        with open(os.path.join(output, "report.json"), encoding="utf-8") as file:
            report = json.load(file)
        return {"total_s": seconds, "peak_rss_bytes": peak, "compute": report["quantize"]["compute"],
                "stages": {stage["name"]: stage["seconds"] for stage in report["stages"]},
                "phases": report["quantize"].get("phases", {}), "checkpoint": os.path.join(output, "checkpoint")}

    def tokens(self, solver, compute):
        """The file of token ids that our calibrate stage left."""
        found = subprocess.run([os.path.join(self.args.bin, "gridquant"), "get", "-o", "json",
                                "--workdir", self.path(f"ours-{solver}-{compute}", "work")],
                               check=True, capture_output=True, text=True)
        for stage in json.loads(found.stdout)["stages"]:
            if stage["uses"] == "calibrate":
                return os.path.join(stage["artifact"], "tokens.bin")
        sys.exit("error: the run has no calibrate stage")

    def product_rate(self, compute):
        """FLOP/s of the products of a block alone, by the library, all cores."""
        done = subprocess.run([os.path.join(self.args.bin, "bench_forward"), compute, str(lib.cores()), "1"],
                              check=True, capture_output=True, text=True)
        return float(re.search(r"products of a block alone\s+([0-9.]+) GFLOP/s", done.stdout).group(1)) * 1e9

    def peer(self, name, dtype, tokens):
        out = self.path(f"{name}-{dtype}")
        shutil.rmtree(out, ignore_errors=True)
        log = out + ".log"
        wall, _ = lib.run_measured(
            [sys.executable, os.path.join(ROOT, "bench/peers", name + "_run.py"), self.args.model, tokens, out,
             "--length", str(self.args.length), "--dtype", dtype], log, lib.peer_environment())
        facts = lib.peer_facts(log)
        facts.update(wall_s=wall, checkpoint=out)
        return facts

    def quality(self, checkpoints):
        """KL and perplexity on text that was not used for calibration."""
        results = {}
        for language in ("en", "ko"):
            done = subprocess.run(
                [sys.executable, os.path.join(ROOT, "tests/interop/evaluate.py"), "--model", self.args.model,
                 "--text", os.path.join(ROOT, f"models/data/evaluation.{language}.txt"), "--length", "512",
                 "--sequences", str(self.args.evaluate)] + [f"{name}={folder}" for name, folder in checkpoints.items()],
                check=True, capture_output=True, text=True, cwd=os.path.join(ROOT, "tests/interop"))
            results[language] = json.loads(done.stdout.strip().splitlines()[-1])
        return results


def floor_flops(config, sequences, length):
    """The least that GPTQ must compute: one forward pass through the blocks and half of X^T X of every site."""
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    weights = hidden * (q + 2 * kv) + q * hidden + 3 * hidden * ffn
    attention = 2 * q * length  # scores and values, half of the square: causal
    hessians = 2 * hidden**2 + q**2 + ffn**2
    return config["num_hidden_layers"] * sequences * length * (2 * weights + attention + hessians)


def measure_ours(bench):
    """The runs of ours, and the product rate between them: its median is the rate of the floor. Beside each run with
    all threads in one process, one with a rank for each of them: first the one, then the other first, so that a machine
    that gets slower or faster does not favour either."""
    compute = "auto"
    kinds = [1, lib.cores()] if lib.cores() > 1 else [1]
    runs, rates = {ranks: [] for ranks in kinds}, []
    for turn in range(bench.args.repeat):
        for ranks in kinds if turn % 2 == 0 else kinds[::-1]:
            lib.say(f"gridquant, run {turn + 1} of {bench.args.repeat}, ranks: {ranks}")
            runs[ranks].append(bench.ours("gptq", compute, ranks))
            lib.say(f"{runs[ranks][-1]['total_s']:.2f} s")
        rates.append(bench.product_rate(runs[1][-1]["compute"]))
        lib.say(f"products at {rates[-1] / 1e9:.0f} GFLOP/s")
    if len(kinds) > 1:
        gang = bench.results["runs"]["ours_ranks"] = median_run(runs[kinds[1]])
        gang["ratios"] = [pair[1]["total_s"] / pair[0]["total_s"] for pair in zip(*runs.values(), strict=True)]
    with open(os.path.join(bench.args.model, "config.json"), encoding="utf-8") as file:
        flops = floor_flops(json.load(file), bench.args.sequences, bench.args.length)
    rate = statistics.median(rates)
    bench.results["floor"] = {"flops": flops, "flops_per_s": rate, "all_flops_per_s": rates, "seconds": flops / rate}
    return median_run(runs[1])


def median_run(runs):
    """The one in the middle, which also tells the time of all, in the order in which they were made."""
    middle = sorted(runs, key=lambda run: run["total_s"])[len(runs) // 2]
    middle["all_s"] = [run["total_s"] for run in runs]
    return middle


def measure_peers(bench, tokens):
    dtypes = ("fp32", "bf16") if lib.has_fast_bf16() else ("fp32",)
    best = {}
    for name in bench.args.peers:
        for dtype in bench.args.dtypes or dtypes:
            lib.say(f"{name} in {dtype}: minutes")
            facts = bench.peer(name, dtype, tokens)
            lib.say(f"{facts['total_s']:.1f} s")
            bench.results["runs"][f"{name}-{dtype}"] = facts
            if name not in best or facts["total_s"] < best[name]["total_s"]:
                best[name] = facts
    return best


def print_results(bench, ours, peers, quality):
    lines = [("ours_s", ours["total_s"], "s"), ("ours_peak_rss", ours["peak_rss_bytes"] / 2**20, "MiB"),
             ("product_rate", bench.results["floor"]["flops_per_s"] / 1e9, "GFLOP/s"),
             ("floor_s", bench.results["floor"]["seconds"], "s")]
    if gang := bench.results["runs"].get("ours_ranks"):
        lines += [("ours_ranks_s", gang["total_s"], "s"),
                  ("ratio_ranks", statistics.median(gang["ratios"]), "x")]
    for name, facts in peers.items():
        lines += [(f"{name}_s", facts["total_s"], "s"), (f"{name}_peak_rss", facts["peak_rss_bytes"] / 2**20, "MiB")]
    for language, figures in quality.items():
        lines += [(f"kl_{language}_{name}", values["kl_mean"], "nats/token") for name, values in figures.items()]
    lines += [(f"ratio_{name}", facts["total_s"] / ours["total_s"], "x") for name, facts in peers.items()]
    lines.append(("ratio_floor", ours["total_s"] / bench.results["floor"]["seconds"], "x"))
    lib.finish(bench.results, lines, bench.args.results)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"))
    parser.add_argument("--model", required=True, help="SmolLM2 as a Hugging Face folder")
    parser.add_argument("--work", default=os.path.join(ROOT, "build/bench/gptq"))
    parser.add_argument("--results", default=lib.results_path("gptq"))
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours; the median counts")
    parser.add_argument("--evaluate", type=int, default=16, help="sequences of 512 tokens per language for KL; 0: all")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--dtypes", nargs="*", choices=("fp32", "bf16"), help="of the peers; default: all that fit")
    parser.add_argument("--no-quality", action="store_true")
    return parser.parse_args()


def main():
    args = parse_args()
    args.bin, args.model, args.results = (os.path.abspath(path) for path in (args.bin, args.model, args.results))
    bench = Bench(args)
    ours = measure_ours(bench)
    bench.results["runs"]["ours"] = ours
    peers = measure_peers(bench, bench.tokens("gptq", "auto"))
    quality = {}
    if not bench.args.no_quality:
        lib.say("KL on held-out text")
        rtn = bench.ours("rtn", "auto")
        checkpoints = {"ours": ours["checkpoint"], "ours_rtn": rtn["checkpoint"]}
        checkpoints.update({name: facts["checkpoint"] for name, facts in peers.items()})
        quality = bench.results["quality"] = bench.quality(checkpoints)
    print_results(bench, ours, peers, quality)


if __name__ == "__main__":
    main()
