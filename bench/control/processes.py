"""Stages per second and latencies with real processes: a coordinator, one node's agent, a worker per stage that is
forked and executed and does nothing (bench_noop_worker), everything over gRPC and on disk. Called by bench.py.
"""

import json
import os
import shutil
import subprocess
import time

import lib

SLOTS = 64  # more than there are processors: so many stages are on their way at once
CHAIN = 200
CALLS = 20


def stages_file(path, wide, chain):
    """A pipeline of `wide` stages that may run side by side, and one of `chain` stages one after the other."""
    head = ("apiVersion: gridquant/v1\nkind: Pipeline\nmetadata: {name: no-op}\nspec:\n  params: {model: {type: path}, "
            "text: {type: path}}\n  stages:\n    analyze: {uses: analyze, with: {model: \"${params.model}\"}}\n")
    data = "datasets: [{path: \"${params.text}\", language: en}]"
    lines = [f"    s{i}: {{uses: calibrate, needs: [analyze], resources: {{cores: 1}}, with: {{{data}, seed: {i}}}}}\n"
             for i in range(wide)]
    for i in range(chain):
        before = f"[analyze, s{i - 1}]" if i else "[analyze]"
        lines.append(f"    s{i}: {{uses: calibrate, needs: {before}, resources: {{cores: 1}}, "
                     f"with: {{{data}, seed: {10_000 + i}}}}}\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + "".join(lines))


class Cluster:
    def __init__(self, work, cores):
        self.work, self.ready = work, os.path.join(work, "ready")
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        self.coordinator = self.spawn("coordinator", "--listen", "127.0.0.1:0", "--workdir", work + "/state",
                                      "--ready-file", self.ready)
        deadline = time.monotonic() + 30
        while not os.path.exists(self.ready):
            if self.coordinator.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the coordinator does not come up")
            time.sleep(0.01)
        self.address = lib.read(self.ready).strip()
        self.node = self.spawn("node", "--coordinator", self.address, "--workdir", work + "/node", "--name", "n",
                               "--cores", str(cores), "--worker", os.path.join(lib.BIN, "bench_noop_worker"))

    def spawn(self, verb, *arguments):
        with open(os.path.join(self.work, verb + ".log"), "wb") as log:
            return subprocess.Popen([os.path.join(lib.BIN, "gridquant"), verb, *arguments], stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log)

    def call(self, verb, *arguments):
        done = subprocess.run([os.path.join(lib.BIN, "gridquant"), verb, *arguments, "--coordinator", self.address],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{verb} ended with status {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def run(self, pipeline):
        """One run to its end: of every stage, when its process began and was done, in ns; and how long submit took."""
        models = os.path.join(lib.ROOT, "models")
        begin = time.monotonic()
        run = json.loads(self.call("submit", pipeline, "-p", f"model={models}/small", "-p",
                                   f"text={models}/data/calibration.en.txt", "-o", "json").splitlines()[0])["run"]
        submitted = time.monotonic() - begin
        while True:
            view = json.loads(self.call("get", run, "-o", "json"))
            if view["state"] == "succeeded":
                break
            if view["state"] in ("failed", "cancelled"):
                raise RuntimeError(f"{run} {view['state']}: {view.get('reason')}")
            time.sleep(1)  # each look costs processor time that the stages want
        return {stage["name"]: stage["summary"] for stage in view["stages"]}, submitted

    def stop(self):
        for process in (self.node, self.coordinator):
            process.terminate()
            process.wait(30)


def quantile(values, q):
    return sorted(values)[int(q * (len(values) - 1))]


def measure(work, stages):
    """RESULT lines."""
    cluster = Cluster(work, SLOTS)
    try:
        pipeline = os.path.join(work, "pipeline.yaml")
        stages_file(pipeline, stages, 0)
        done, _ = cluster.run(pipeline)
        wide = [one for name, one in done.items() if name != "analyze"]
        seconds = (max(one["done_ns"] for one in wide) - min(one["began_ns"] for one in wide)) / 1e9
        stages_file(pipeline, 0, CHAIN)
        done, _ = cluster.run(pipeline)
        hops = [(done[f"s{i + 1}"]["began_ns"] - done[f"s{i}"]["done_ns"]) / 1e6 for i in range(CHAIN - 1)]
        calls = []
        for _ in range(CALLS):
            stages_file(pipeline, 0, 1)
            calls.append(cluster.run(pipeline)[1] * 1e3)
        return [("process_stages_per_s", stages / seconds, "1/s"), ("process_hop_p50", quantile(hops, 0.5), "ms"),
                ("process_hop_p99", quantile(hops, 0.99), "ms"),
                ("submit_command_p50", quantile(calls, 0.5), "ms")]
    finally:
        cluster.stop()
        shutil.rmtree(work, ignore_errors=True)
