"""quantize in parts (`parallelism: blocks`), with pipelines/fanout.yaml: the same bytes for any number of tasks, ranks
and nodes and after a part was killed by SIGKILL; about as good as in sequence, and a checkpoint like any other.

usage: fanout_test.py BIN_FOLDER WORK_FOLDER
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from cluster import Cluster
from harness import Checks, Gridquant, ROOT, TIMEOUT_S, children, digests, fresh

FANOUT = ROOT / "pipelines" / "fanout.yaml"
SMALL = {"samples": 8, "sequenceLength": 128, "groupSize": 64, "evaluationSamples": 2}


class Fanout(Gridquant):
    def __init__(self, binaries, folder):
        super().__init__(binaries, folder)
        self.pipeline = FANOUT

    def command(self, params=None, extra=()):
        values = {"model": self.model, **SMALL, **(params or {})}
        command = [self.binaries / "gridquant", "run", self.pipeline, "--workdir", self.work, "--output", self.output]
        for key, value in values.items():
            command += ["-p", f"{key}={value}"]
        return [str(part) for part in command] + list(extra)

    def forget_quantized(self):
        """The joined result and its parts; not what they are made of."""
        for folder in (self.work / "artifacts").glob("quantize*"):
            shutil.rmtree(folder)
        shutil.rmtree(self.output, ignore_errors=True)


def divergence(report):
    return {tag: of["kl_mean"] for tag, of in report["validate"]["languages"].items()}


def as_good_as_in_sequence(sequence, run, checks):
    one, other = divergence(sequence.report()), divergence(run.report())
    print(f"KL in sequence {one}, in parts {other}")
    for tag, kl in one.items():
        checks.that(0.5 * kl < other[tag] < 2 * kl, f"{tag}: KL {other[tag]} in parts, {kl} in sequence")
    before, after = sequence.digests(), run.digests()
    checks.that(before.keys() == after.keys(), "the checkpoint has the files of any other")
    same = [name for name in before if before[name] == after[name]]
    checks.that("model.safetensors.index.json" in same and "config.json" in same, f"and their descriptions: {same}")
    checks.that(before != after, "its codes are not those of quantize in sequence")


def any_number(run, expected, checks):
    ranks = 2 if shutil.which("mpirun") else 1
    for tasks, of_ranks in ((2, ranks), (3, 1), (7, 1)):
        run.forget_quantized()
        done = run.run({"tasks": tasks, "ranks": of_ranks})
        checks.that(done.status == 0, f"{tasks} tasks of {of_ranks} ranks", done)
        checks.that(run.digests() == expected, f"bytes of {tasks} tasks of {of_ranks} ranks")
        stages = {stage["name"]: stage for stage in run.report()["stages"]}
        parts = [name for name in stages if name.startswith("quantize-part-")]
        checks.that(len(parts) == tasks and not any(stages[name]["cached"] for name in [*parts, "quantize"]),
                    f"{tasks} parts were made: {stages}")
        checks.that(stages["validate"]["cached"], "what follows is found: the key does not count the parts")
        checks.that(run.report()["quantize"]["parts"] == tasks, "the report says how many")
    again = run.run({"tasks": 3})
    checks.that(again.status == 0 and run.stage("quantize")["cached"], "another number finds what was joined", again)


def killed_part(run, expected, checks):
    """SIGKILL after a block was committed: the next attempt goes on after it."""
    run.forget_quantized()
    process = subprocess.Popen(run.command({"tasks": 1}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               cwd=run.folder)
    deadline = time.monotonic() + TIMEOUT_S
    while not list((run.work / "artifacts").glob("quantize-part-*/shards/.gridquant/shard-*.json")):
        if process.poll() is not None or time.monotonic() > deadline:
            break
        time.sleep(0.002)
    workers = children(process.pid)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    checks.that(process.wait(timeout=TIMEOUT_S) == 0, "a part that was killed is tried again")
    checks.that(len(workers) == 1 and run.stage("quantize-part-1")["attempts"] == 2, f"once: {workers}")
    checks.that(run.report()["quantize"]["resumed_blocks"] >= 1, "and goes on after what was committed")
    checks.that(run.digests() == expected, "bytes after a killed part")


def damaged_part(run, expected, checks):
    """A bit of a part's shard changed after it was made: the part alone is made again."""
    shutil.rmtree(run.output)
    for folder in (run.work / "artifacts").glob("quantize-[0-9a-f]*"):
        shutil.rmtree(folder)
    shard = next((run.work / "artifacts").glob("quantize-part-*/shards/model-00002-*"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.unlink()
    shard.write_bytes(content)
    done = run.run({"tasks": 1})
    checks.that(done.status == 0 and run.digests() == expected, "a damaged part is made again", done)
    checks.that(run.stage("quantize")["attempts"] == 2, f"after the join found it: {run.report()['stages']}")


def by_hand(run, expected, checks):
    """gridquant render tasks, a worker for each file, gridquant run to deliver."""
    run.forget_quantized()
    values = {"model": run.model, **SMALL, "tasks": 2}
    params = [part for key, value in values.items() for part in ("-p", f"{key}={value}")]
    rendered = run.call("render", "tasks", str(FANOUT), *params, "--workdir", str(run.work), "--into", "tasks")
    files = [line.split("\t")[2] for line in rendered.out.splitlines()]
    checks.that(len(files) == 7, "a task file for every stage and part", rendered)
    for file in files:
        done = subprocess.run([run.binaries / "gridquant-worker", "--task", file], capture_output=True, text=True,
                              timeout=TIMEOUT_S)
        checks.that(done.returncode == 0, f"{file}: {done.stdout[-500:]}")
    done = run.run({"tasks": 2})
    checks.that(done.status == 0 and all(stage["cached"] for stage in run.report()["stages"]), "all is found", done)
    checks.that(run.digests() == expected, "bytes of tasks run by hand")


def two_nodes(binaries, folder, expected, checks):
    cluster = Cluster(binaries, folder, ("node-a", "node-b"))
    try:
        params = {**SMALL, "model": cluster.model, "tasks": 2, "cores": os.cpu_count()}
        arguments = [part for key, value in params.items() for part in ("-p", f"{key}={value}")]
        done = cluster.call("submit", FANOUT, *arguments, "--output", "out", "--watch")
        checks.that(done.status == 0, "parts on two nodes", f"{done}\n{cluster.logs()}")
        checks.that(digests(cluster.folder / "out" / "checkpoint") == expected, "bytes of parts on two nodes")
        run = done.out.split()[0]
        nodes = {cluster.stage(run, f"quantize-part-{i}")["attempts"][0]["node"] for i in (1, 2)}
        checks.that(nodes == {"node-a", "node-b"}, f"each did one: {nodes}")
        explained = cluster.call("explain", run, "quantize-part-2")
        checks.that(explained.status == 0 and "quantize-part-2: succeeded" in explained.out, "explain", explained)
        logs = cluster.call("logs", run, "quantize-part-1")
        checks.that(logs.status == 0, "logs of a part", logs)
    finally:
        cluster.stop()


def main():
    checks = Checks()
    folder = fresh(sys.argv[2])
    sequence = Gridquant(sys.argv[1], folder / "sequence")
    done = sequence.run()
    checks.that(done.status == 0, "quantize in sequence", done)
    run = Fanout(sys.argv[1], folder / "parts")
    done = run.run({"tasks": 1})
    if not checks.that(done.status == 0, "one task", done):
        return checks.finish()
    expected = run.digests()
    as_good_as_in_sequence(sequence, run, checks)
    any_number(run, expected, checks)
    killed_part(run, expected, checks)
    damaged_part(run, expected, checks)
    by_hand(run, expected, checks)
    two_nodes(Path(sys.argv[1]), folder / "cluster", expected, checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
