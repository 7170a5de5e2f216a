"""Gangs of real processes under mpirun: the same bytes for any number of ranks, also where a rank is killed by SIGKILL
in the middle and others go on with what is committed, and one exit code that keeps the class of the failure.

usage: ranks_test.py BIN_FOLDER WORK_FOLDER
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import Checks, Gridquant, TIMEOUT_S, children, digests, fresh, need

RANKS = {"analyze": (2,), "calibrate": (2, 3), "plan": (2,), "quantize": (2, 3), "validate": (3,)}
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "pml", "ob1",
          "--mca", "btl", "self,vader", "--mca", "btl_vader_single_copy_mechanism", "none"]


def content(folder):
    """Digests of an artifact's files; not of what tells of ranks and times."""
    return {name: value for name, value in (digests(Path(folder)) or {}).items()
            if name not in ("artifact.json", "lock")}


class Stage:
    """The task of a stage of an undisturbed run, to be run again elsewhere."""

    def __init__(self, run, name):
        self.worker = str(run.binaries / "gridquant-worker")
        file = next(run.work.glob(f"runs/*/{name}/attempt-1.json"))
        self.task = json.loads(file.read_text(encoding="utf-8"))
        self.expected = content(self.task["artifact"])
        self.artifact = run.folder / f"again-{name}"
        self.file = run.folder / f"again-{name}.json"

    def command(self, ranks, changes=None):
        self.file.write_text(json.dumps({**self.task, "artifact": str(self.artifact), **(changes or {})}))
        worker = [self.worker, "--task", str(self.file), "--threads", "1"]
        return worker if ranks == 1 else MPIRUN + ["-np", str(ranks)] + worker

    def run(self, ranks, changes=None):
        return subprocess.run(self.command(ranks, changes), capture_output=True, text=True, timeout=TIMEOUT_S)

    def forget(self):
        shutil.rmtree(self.artifact, ignore_errors=True)


def lives(pid):
    """Whether a process is there still, and not just to be reaped; one that is being ended gets a moment."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.05)
    return True


def same_bytes(run, checks):
    for name, numbers in RANKS.items():
        stage = Stage(run, name)
        for ranks in numbers:
            stage.forget()
            done = stage.run(ranks)
            checks.that(done.returncode == 0, f"{name} on {ranks} ranks: {done.returncode} {done.stderr[-500:]}")
            checks.that(stage.expected and content(stage.artifact) == stage.expected, f"{name}: bytes of {ranks} ranks")
            steps = [line for line in done.stdout.splitlines() if '"done"' in line]
            checks.that(len(steps) == len(set(steps)), f"{name}: only one rank tells its progress")


def ways_of_ranks(run, checks):
    """Ranks of quantize share memory; where the activations do not fit into it, they exchange Hessians and codes, and
    each rank's activations go to a file. Those are made at the same moment in one folder: seldom seen at the first
    try."""
    stage = Stage(run, "quantize")
    spilled = {"with": {**stage.task["with"], "hiddenStatesBudget": "1Ki"}}
    for changes, shared in [({}, True)] + [(spilled, False)] * 4:
        stage.forget()
        done = stage.run(2, changes)
        checks.that(done.returncode == 0, f"quantize, shared {shared}: {done.returncode} {done.stderr[-500:]}")
        summary = json.loads((stage.artifact / "artifact.json").read_text())["summary"]
        checks.that(summary["ranks_share_memory"] == shared, f"quantize: ranks share memory is {shared}")
        checks.that(content(stage.artifact) == stage.expected, f"quantize: bytes, shared {shared}")


def lost_rank(run, checks):
    """One rank of three dies by SIGKILL after a block was committed; fewer continue."""
    stage = Stage(run, "quantize")
    for others in (1, 2):
        stage.forget()
        process = subprocess.Popen(stage.command(3), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        deadline = time.monotonic() + TIMEOUT_S
        blocks = stage.artifact / "blocks"
        while not list(blocks.glob("block-*.json")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        workers = children(process.pid)
        checks.that(len(workers) == 3, f"three ranks are at work: {workers}")
        if workers:
            os.kill(workers[others % len(workers)], signal.SIGKILL)
        process.communicate(timeout=TIMEOUT_S)
        checks.that(process.returncode >= 128, f"a lost rank can be retried: {process.returncode}")
        left = [pid for pid in workers if lives(pid)]
        checks.that(not left, f"no rank is left: {left}")
        checks.that(not (stage.artifact / "artifact.json").exists(), "nothing unfinished looks finished")
        done = stage.run(others)
        checks.that(done.returncode == 0, f"{others} ranks go on: {done.returncode} {done.stderr[-500:]}")
        resumed = json.loads((stage.artifact / "artifact.json").read_text())["summary"]["resumed_blocks"]
        checks.that(resumed >= 1, f"after {resumed} committed blocks")
        checks.that(content(stage.artifact) == stage.expected, f"bytes after a lost rank, continued by {others}")


def failures(run, checks):
    """mpirun gives the code of the rank that failed."""
    stage = Stage(run, "quantize")
    stage.forget()
    done = stage.run(2, {"with": {**stage.task["with"], "hiddenStatesBudget": "1Gb"}})
    checks.that(done.returncode == 11 and "hiddenStatesBudget" in done.stdout, f"a parameter: {done.returncode}")
    stage.forget()
    done = stage.run(2, {"inputs": {**stage.task["inputs"], "plan": str(run.folder / "nowhere")}})
    checks.that(done.returncode == 14 and "nowhere" in done.stdout, f"an input, to be made again: {done.returncode}")


def whole_run(run, expected, checks):
    run.forget()
    done = run.run({"ranks": 2})
    checks.that(done.status == 0, "gridquant run -p ranks=2 succeeds", done)
    checks.that(run.digests() == expected, "the checkpoint of gridquant run -p ranks=2")
    checks.that(run.report()["quantize"]["ranks"] == 2, "two ranks did it")


def main():
    need("mpirun")
    checks = Checks()
    run = Gridquant(sys.argv[1], fresh(sys.argv[2]))
    done = run.run()
    checks.that(done.status == 0, "the undisturbed run succeeds", done)
    expected = run.digests()
    same_bytes(run, checks)
    ways_of_ranks(run, checks)
    lost_rank(run, checks)
    failures(run, checks)
    whole_run(run, expected, checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
