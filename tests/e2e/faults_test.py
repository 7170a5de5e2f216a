"""Faults at random moments while a small cluster works: processes killed (coordinator, agent, rank, Open MPI's daemon)
or stopped for a while (coordinator, agent, rank). Whatever happened: every acknowledged run ends as succeeded and stays
so, with the bytes of an undisturbed run; its events are numbered without a gap; no process and no slot is left; and no
more was executed again than the faults can explain.

usage: faults_test.py BIN_FOLDER WORK_FOLDER [--count N] [--seconds S] [--seed S]
--count: faults of every kind; --seconds: no new ones after that time.
"""

import argparse
import json
import random
import signal
import sys
import threading
import time
import uuid

from gang_test import run_alone
from harness import Checks, fresh
from mesh import Cluster, kill

LEASE_S = 1
MOST_LOSSES = 8  # of nodes in one run: a stage that loses more than ten fails, as it should
RUN_TIMEOUT_S = 240
KINDS = ("rank killed", "daemon killed", "agent killed", "coordinator killed", "rank stopped", "agent stopped",
         "coordinator stopped")


class Runs(threading.Thread):
    """Submits runs one after the other, and remembers what was acknowledged."""

    def __init__(self, cluster, dice):
        super().__init__(daemon=True)
        self.cluster, self.dice, self.enough = cluster, dice, threading.Event()
        self.acknowledged, self.ended, self.problem = {}, {}, None

    def run(self):
        try:
            while not self.enough.is_set() or not self.ended:
                self.one(f"run{len(self.acknowledged)}")
        except Exception as problem:  # told by the main thread
            self.problem = problem

    def one(self, name):
        key, params = str(uuid.uuid4()), {"ranks": self.dice.choice((1, 2, 3, 3))}
        deadline = time.monotonic() + RUN_TIMEOUT_S
        while name not in self.acknowledged:
            try:
                self.acknowledged[name] = self.cluster.submit(name, params, key=key, extra=["--no-cache"])
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self.ended[name] = self.cluster.wait(self.acknowledged[name], RUN_TIMEOUT_S)


class Faults:
    def __init__(self, cluster, dice, runs):
        self.cluster, self.dice, self.runs, self.losses = cluster, dice, runs, {}
        self.done = {kind: 0 for kind in KINDS}
        self.stopped, self.to_start = [], []  # (when, pid), (when, node)

    def due(self, everything=False):
        """Goes on with what is stopped, starts what is dead, when its time has come."""
        now = time.monotonic()
        for when, pid in [one for one in self.stopped if everything or one[0] <= now]:
            kill(pid, signal.SIGCONT)
            self.stopped.remove((when, pid))
        for when, node in [one for one in self.to_start if everything or one[0] <= now]:
            self.cluster.start_node(node, self.cluster.cores[node])
            self.to_start.remove((when, node))

    def choose(self, kind):
        if "rank" in kind:
            return self.dice.choice(self.cluster.ranks() or [0])
        if "daemon" in kind:
            return self.dice.choice(self.cluster.daemons() or [0])
        if "agent" in kind:
            alive = [name for name, process in self.cluster.nodes.items() if process.poll() is None]
            return self.cluster.nodes[self.dice.choice(alive)].pid if alive else 0
        return self.cluster.coordinator.pid

    def too_many_losses(self, kind):
        current = len(self.runs.ended)
        if "agent" in kind:
            self.losses[current] = self.losses.get(current, 0) + 1
        return "agent" in kind and self.losses[current] > MOST_LOSSES

    def inject(self, kind):
        pid = 0 if self.too_many_losses(kind) else self.choose(kind)
        if not pid or any(pid == other for _, other in self.stopped):
            return False
        if "stopped" in kind:
            if kill(pid, signal.SIGSTOP):
                self.stopped.append((time.monotonic() + self.dice.uniform(0.5, 5) * LEASE_S, pid))
                self.done[kind] += 1
            return True
        if not kill(pid):
            return False
        self.done[kind] += 1
        if kind == "coordinator killed":
            self.cluster.coordinator.wait()
            time.sleep(self.dice.uniform(0, 0.3))
            self.cluster.start_coordinator()
        for node, process in self.cluster.nodes.items():
            if kind == "agent killed" and process.pid == pid:
                process.wait()
                self.to_start.append((time.monotonic() + self.dice.uniform(0, 1), node))
        return True

    def play(self, count, seconds):
        end = time.monotonic() + seconds
        while min(self.done.values()) < count and time.monotonic() < end:
            self.due()
            time.sleep(self.dice.uniform(0.05, 0.5))
            # What happened least comes first; where it does not fit now (no gang runs), the next.
            open_kinds = sorted((kind for kind in KINDS if self.done[kind] < count),
                                key=lambda kind: (self.done[kind] // 3, self.dice.random()))
            any(self.inject(kind) for kind in open_kinds)
        self.due(everything=True)


def events_are_whole(cluster, run):
    """The client refuses a stream with a gap or a repetition; and it must tell the end."""
    outcome = cluster.call("watch", run, "-o", "json")
    events = [json.loads(line).get("event") for line in outcome.out.splitlines()]
    return outcome.status == 0 and "run_ended" in events, outcome


def no_slot_is_taken(cluster):
    outcome = cluster.call("nodes", "list", "-o", "json")
    if outcome.status != 0:
        return False, outcome
    nodes = json.loads(outcome.out)
    nodes = nodes.get("nodes", nodes) if isinstance(nodes, dict) else nodes
    return len(nodes) == len(cluster.nodes) and not any(node["coresUsed"] for node in nodes), outcome


def check(cluster, runs, faults, expected, checks):
    total = sum(faults.done.values())
    executions = 0
    for name, run in runs.acknowledged.items():
        view = cluster.wait(run, 10)
        checks.that(view["state"] == "succeeded", f"{name} ({run}): succeeds", f"{view}\n{cluster.logs()}")
        before = runs.ended.get(name)
        checks.that(before is None or before["state"] == view["state"], f"{name}: its end stays as it was")
        checks.that(cluster.delivered(name) == expected, f"{name}: the bytes of an undisturbed run")
        whole, outcome = events_are_whole(cluster, run)
        checks.that(whole, f"{name}: its events are numbered without a gap", outcome)
        executions += sum(len(stage["attempts"]) for stage in view.get("stages", []))
    checks.that(cluster.nothing_left(), "no process is left", cluster.marked())
    free, outcome = no_slot_is_taken(cluster)
    checks.that(free, "no slot is taken", outcome)
    needed = 4 * len(runs.acknowledged)
    # A stopped or lost node takes every attempt on it along: two at most, one of them a gang.
    checks.that(executions - needed <= 2 * total, f"{executions} attempts for {needed} stages, {total} faults")
    return executions - needed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries")
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    checks, folder = Checks(), fresh(args.folder)
    expected, outcome = run_alone(args.binaries, folder / "alone")
    if not checks.that(bool(expected), "gridquant run succeeds", outcome):
        return checks.finish()
    with Cluster(args.binaries, folder / "cluster", lease_s=LEASE_S) as cluster:
        for name, cores in (("a", 2), ("b", 1)):
            cluster.start_node(name, cores)
        runs = Runs(cluster, random.Random(args.seed + 1))
        faults = Faults(cluster, random.Random(args.seed), runs)
        runs.start()
        faults.play(args.count, args.seconds)
        runs.enough.set()
        runs.join(RUN_TIMEOUT_S)
        checks.that(not runs.is_alive() and runs.problem is None, f"the last run ends: {runs.problem}", cluster.logs())
        again = check(cluster, runs, faults, expected, checks)
    print(f"{len(runs.acknowledged)} runs, {again} attempts again; " +
          ", ".join(f"{count} x {kind}" for kind, count in faults.done.items()))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
