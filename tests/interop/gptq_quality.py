"""What our GPTQ is worth: KL to the original on held-out text, of our GPTQ, our plain rounding, and GPTQModel with its
defaults, on SmolLM2-135M with the same calibration token ids (symmetric, 4 bits, groups of 64).

usage: gptq_quality.py GRIDQUANT WORK_FOLDER

Exit status 1 unless GPTQ is better than rounding and within LIMIT of GPTQModel's KL; says whether GOAL is reached. The
evaluator is independent of gridquant (evaluate.py). GPTQModel's part takes about five minutes on two cores.
"""

import json
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
SEQUENCES, LENGTH = 32, 512
EVALUATED = 16  # sequences of 512 tokens
GOAL = 0.5      # of GPTQModel's KL: not reached on this text, see LIMIT
LIMIT = 0.6     # what fails the test; measured 0.54 (GPTQModel in fp32), 0.52 (in bf16), AVX512-BF16 machine


def calibration_text():
    shared = os.environ.get("GRIDQUANT_TEST_DATA", os.path.join(ROOT, "../shared/data"))
    wiki = os.path.join(shared, "texts/wikitext-2-raw/wiki.test.raw")
    return wiki if os.path.exists(wiki) else os.path.join(ROOT, "models/data/calibration.en.txt")


def run(*command, folder=None):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with status {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def smollm2(work):
    folder = os.environ.get("GRIDQUANT_SMOLLM2", os.path.join(work, "SmolLM2-135M-Instruct"))
    run(sys.executable, os.path.join(ROOT, "bench/peers/smollm2.py"), folder)
    return folder


def ours(gridquant, work, model, solver):
    """(checkpoint, file of token ids)."""
    workdir, output = os.path.join(work, "work"), os.path.join(work, solver)
    run(gridquant, "run", os.path.join(ROOT, "bench/gptq/smollm2.yaml"), "--workdir", workdir, "--output", output,
        "-p", f"model={model}", "-p", f"text={calibration_text()}", "-p", f"solver={solver}",
        "-p", f"samples={SEQUENCES}", "-p", f"sequenceLength={LENGTH}")
    stages = json.loads(run(gridquant, "get", "-o", "json", "--workdir", workdir))["stages"]
    artifact = next(stage["artifact"] for stage in stages if stage["uses"] == "calibrate")
    return os.path.join(output, "checkpoint"), os.path.join(artifact, "tokens.bin")


def gptqmodel(work, model, tokens):
    out = os.path.join(work, "gptqmodel")
    if not os.path.exists(os.path.join(out, "config.json")):
        printed = run(sys.executable, os.path.join(ROOT, "bench/peers/gptqmodel_run.py"), model, tokens, out,
                      "--length", LENGTH, folder=work)
        print(re.findall(r"^PEER .*$", printed, re.MULTILINE)[-1])
    return out


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    gridquant, work = sys.argv[1], os.path.abspath(sys.argv[2])
    os.makedirs(work, exist_ok=True)
    model = smollm2(work)
    gptq, tokens = ours(gridquant, work, model, "gptq")
    rtn, _ = ours(gridquant, work, model, "rtn")
    theirs = gptqmodel(work, model, tokens)
    text = os.path.join(ROOT, "models/data/evaluation.en.txt")
    figures = json.loads(run(sys.executable, os.path.join(ROOT, "tests/interop/evaluate.py"), "--model", model,
                             "--text", text, "--sequences", EVALUATED, f"gptq={gptq}", f"rtn={rtn}",
                             f"gptqmodel={theirs}").strip().splitlines()[-1])
    kl = {name: values["kl_mean"] for name, values in figures.items()}
    for name, value in kl.items():
        print(f"{name}: KL {value:.4f} nats per token, perplexity {figures[name]['perplexity_quantized']:.2f}")
    share = kl["gptq"] / kl["gptqmodel"]
    print(f"GPTQ below rounding: {'ok' if kl['gptq'] < kl['rtn'] else 'NO'}")
    print(f"share of GPTQModel's KL: {share:.3f}, limit {LIMIT}: {'ok' if share <= LIMIT else 'ABOVE THE LIMIT'}; "
          f"the goal of {GOAL} is {'reached' if share <= GOAL else 'not reached'}")
    return 0 if kl["gptq"] < kl["rtn"] and share <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
