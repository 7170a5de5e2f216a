"""What the control plane costs: the scheduler alone, with durability on this disk, with real processes over gRPC, and
Slurm on the same machine. Called by ./scripts/bench control.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import lib  # noqa: E402
import processes  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def ours(program, log, *arguments):
    """The RESULT lines of one of our programs."""
    with open(log, "w", encoding="utf-8") as errors:
        done = subprocess.run([os.path.join(lib.BIN, program), *arguments], stdout=subprocess.PIPE, stderr=errors,
                              text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"error: {program} ended with status {done.returncode}: {lib.read(log)[-2000:]}")
    return [(name, float(value), unit)
            for name, value, unit in re.findall(r"^RESULT (\S+) (\S+) (\S+)$", done.stdout, re.MULTILINE)]


def slurm(work):
    log = os.path.join(work, "slurm.log")
    with open(log, "w", encoding="utf-8") as file:
        done = subprocess.run([sys.executable, "-B", os.path.join(HERE, "slurm.py"), "--work", work + "/slurm"],
                              stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        lib.say(f"without Slurm: {lib.read(log).strip()[-500:]}")
        return None
    return lib.peer_facts(log)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=os.path.join(lib.ROOT, "build/bench/control"))
    parser.add_argument("--results", default=lib.results_path("control"))
    parser.add_argument("--stages", type=int, default=4000, help="of the runs that are measured with durability")
    args = parser.parse_args()
    work = os.path.abspath(args.work)
    os.makedirs(work, exist_ok=True)
    lib.say("the scheduler alone")
    lines = ours("bench_control", os.path.join(work, "scheduler.log"))
    lib.say("with every record on disk before it is acted on")
    state = os.path.join(work, "state")
    shutil.rmtree(state, ignore_errors=True)
    lines += ours("bench_control_durable", os.path.join(work, "durable.log"), state, str(args.stages))
    shutil.rmtree(state)
    lib.say("with a process for every stage, over gRPC")
    lines += processes.measure(os.path.join(work, "cluster"), args.stages)
    facts = {name: value for name, value, _ in lines}
    lib.say("Slurm")
    peer = slurm(work)
    if peer is not None:
        lines += [("slurm_jobs_per_s", peer["jobs_per_s"], "1/s"), ("slurm_hop", peer["hop_ms"], "ms"),
                  ("slurm_submit_p50", peer["submit_ms"], "ms"),
                  ("ratio_slurm_hop", peer["hop_ms"] / facts["process_hop_p50"], "x")]
    results = {"environment": lib.environment(), "slurm": peer}
    lib.finish(results, lines, args.results)


if __name__ == "__main__":
    main()
