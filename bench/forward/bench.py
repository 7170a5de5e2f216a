"""The forward pass through the blocks, 512 tokens at a time: ours beside the library's own rate on the same products,
torch (transformers' Llama) and llama.cpp (llama-bench's prompt processing), all of random weights and the same shapes.
Called by ./scripts/bench forward.
"""

import argparse
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import lib  # noqa: E402

# As in bench/forward_main.cc; `peer_blocks`: of so many blocks the peers are measured, to save memory.
SHAPES = {
    "smollm2": {"hidden": 576, "intermediate": 1536, "heads": 9, "kv-heads": 3, "head-dim": 64, "blocks": 30,
                "peer_blocks": 10},
    "llama1b": {"hidden": 2048, "intermediate": 8192, "heads": 32, "kv-heads": 8, "head-dim": 64, "blocks": 16,
                "peer_blocks": 4},
}


def options_of(shape):
    options = []
    for name in ("hidden", "intermediate", "heads", "kv-heads", "head-dim"):
        options += ["--" + name, str(shape[name])]
    return options + ["--blocks", str(shape["peer_blocks"])]


def ours(name, compute, seconds):
    done = subprocess.run([os.path.join(lib.BIN, "bench_forward"), compute, str(lib.cores()), str(seconds), name],
                          check=True, capture_output=True, text=True)
    facts = {"compute": compute, "printed": done.stdout.splitlines()}
    facts["products"] = float(re.search(r"products of a block alone\s+([0-9.]+) GFLOP/s", done.stdout).group(1))
    rate, tokens = re.search(r"forward pass\s+([0-9.]+) GFLOP/s.*?([0-9]+) tokens/s", done.stdout).groups()
    facts.update(forward=float(rate), tokens_per_s=float(tokens),
                 gram={int(width): float(rate) for width, rate in
                       re.findall(r"Hessian of width ([0-9]+)\s+([0-9.]+) GFLOP/s", done.stdout)})
    return facts


def torch(name, dtype, work):
    shape = SHAPES[name]
    log = os.path.join(work, f"torch-{name}-{dtype}.log")
    lib.run_measured([sys.executable, os.path.join(lib.ROOT, "bench/peers/torch_forward.py"), "--dtype", dtype] +
                     options_of(shape), log, lib.peer_environment())
    facts = lib.peer_facts(log)
    facts["tokens_per_s"] *= shape["peer_blocks"] / shape["blocks"]
    return facts


def llama_bench(model, embeddings):
    """tokens/s. Without embeddings only the last token's logits are wanted, and llama.cpp leaves out what they do not
    need: the last block's MLP of all tokens but the last. With embeddings it does all the work, as we do."""
    done = subprocess.run([lib.llama_tool("llama-bench"), "-m", model, "-p", "512", "-n", "0", "-b", "512",
                           "-ub", "512", "-t", str(lib.cores()), "-r", "5", "-embd", str(embeddings), "-o", "json"],
                          check=True, capture_output=True, text=True)
    return max(json.loads(done.stdout)[0]["samples_ts"])


def llama_cpp(name, dtype, work):
    """`tokens_per_s`: all tokens through all of each block. `tokens_per_s_last_only`: the last block cut short."""
    shape = SHAPES[name]
    model = os.path.join(work, f"{name}-{dtype}-blocks.gguf")
    if not os.path.exists(model):
        subprocess.run([sys.executable, os.path.join(lib.ROOT, "bench/peers/random_llama.py"), model + ".making",
                        "--dtype", dtype] + options_of(shape), check=True)
        os.rename(model + ".making", model)
    last_only, full = llama_bench(model, 0), llama_bench(model, 1)
    saved = 1 / full - 1 / last_only  # seconds a token, in the last block alone
    seconds = shape["blocks"] / shape["peer_blocks"] / full
    return {"peer": "llama.cpp", "dtype": dtype, "blocks": shape["peer_blocks"], "printed": [last_only, full],
            "tokens_per_s": 1 / seconds, "tokens_per_s_last_only": 1 / (seconds - saved)}


def best_of(runs):
    return max(runs, key=lambda facts: facts["tokens_per_s"])


def measure(name, args, results):
    compute = "bf16" if lib.has_fast_bf16() else "fp32"
    facts = results["runs"][name] = {"ours": [ours(name, compute, args.seconds)]}
    say_rate("gridquant", facts["ours"][0])
    if "torch" in args.peers:
        dtypes = ("fp32", "bf16") if compute == "bf16" else ("fp32",)
        facts["torch"] = [torch(name, dtype, args.work) for dtype in dtypes]
        for run in facts["torch"]:
            say_rate("torch", run)
    if "llama.cpp" in args.peers:
        facts["llama.cpp"] = [llama_cpp(name, dtype, args.work) for dtype in ("fp32", "fp16", "bf16")]
        for run in facts["llama.cpp"]:
            say_rate("llama.cpp", run)
    facts["ours"].append(ours(name, compute, args.seconds))  # before and after the peers: the better one
    own = best_of(facts["ours"])
    lines = [(f"{name}_tokens_per_s", own["tokens_per_s"], "tokens/s"),
             (f"{name}_forward", own["forward"], "GFLOP/s"), (f"{name}_products", own["products"], "GFLOP/s"),
             (f"{name}_share_of_products", 100 * own["forward"] / own["products"], "%")]
    lines += [(f"{name}_gram_{width}", rate, "GFLOP/s") for width, rate in own["gram"].items()]
    for peer in args.peers:
        rates = [(peer, best_of(facts[peer])["tokens_per_s"])]
        if peer == "llama.cpp":
            rates.append((peer + "_last_only", max(run["tokens_per_s_last_only"] for run in facts[peer])))
        for rated, rate in rates:
            lines += [(f"{name}_{rated}_tokens_per_s", rate, "tokens/s"),
                      (f"{name}_ratio_{rated}", own["tokens_per_s"] / rate, "x")]
    return lines


def say_rate(who, facts):
    lib.say(f"{who} {facts.get('compute', facts.get('dtype'))}: {facts['tokens_per_s']:.0f} tokens/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--peers", nargs="*", default=["torch", "llama.cpp"], choices=["torch", "llama.cpp"])
    parser.add_argument("--seconds", type=float, default=2, help="per figure of ours")
    parser.add_argument("--work", default=os.path.join(lib.ROOT, "build/bench/forward"))
    parser.add_argument("--results", default=lib.results_path("forward"))
    args = parser.parse_args()
    args.work = os.path.abspath(args.work)
    os.makedirs(args.work, exist_ok=True)
    results = {"environment": lib.environment(), "runs": {}}
    lines = []
    for name in args.shapes:
        lib.say(f"shapes of {name}")
        lines += measure(name, args, results)
    lib.finish(results, lines, args.results)


if __name__ == "__main__":
    main()
