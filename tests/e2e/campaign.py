"""What a campaign of faults does to a cluster (mesh.py) while it works: runs that follow one another in several rows,
and faults of one or more kinds at random moments. What must hold afterwards stands in invariants.py.
"""

import json
import signal
import subprocess
import threading
import time
import uuid

from mesh import kill

RUN_TIMEOUT_S = 300
MOST_LOSSES = 6  # attempts of an open stage before its nodes are spared: one that loses more than ten nodes fails
KILLS = ("coordinator killed", "agent killed", "worker killed", "rank killed", "daemon killed")
STOPS = ("coordinator stopped", "agent stopped", "rank stopped")


class Run:
    def __init__(self, name, variant, ranks):
        self.name, self.variant, self.ranks, self.key = name, variant, ranks, str(uuid.uuid4())
        self.id, self.watcher, self.end = None, None, None  # id: None until it is acknowledged


class Rows(threading.Thread):
    """Submits runs in one row after the other until told that it is enough. Every run has a watcher from its start."""

    def __init__(self, cluster, dice, variants, ranks, number):
        super().__init__(daemon=True)
        self.cluster, self.dice, self.variants, self.ranks, self.number = cluster, dice, variants, ranks, number
        self.enough, self.runs, self.problem = threading.Event(), [], None

    def run(self):
        try:
            while not self.enough.is_set() or not self.runs:
                self.one(Run(f"row{self.number}-{len(self.runs)}", self.dice.choice(self.variants),
                             self.dice.choice(self.ranks)))
        except Exception as problem:  # told by the main thread
            self.problem = problem

    def one(self, run):
        params, deadline = {**run.variant, "ranks": run.ranks}, time.monotonic() + RUN_TIMEOUT_S
        while run.id is None:
            try:
                run.id = self.cluster.submit(run.name, params, key=run.key, extra=["--no-cache"])
            except Exception:  # the same key again: an answer that was lost makes no second run
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self.runs.append(run)
        with open(self.cluster.folder / f"watch-{run.name}.json", "wb") as file:
            run.watcher = subprocess.Popen(
                self.cluster.command("coordinator", [
                    "watch", run.id, "-o", "json", "--patience", RUN_TIMEOUT_S,
                    "--coordinator", f"{self.cluster.host}:{self.cluster.port}"]),
                stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        run.end = self.cluster.wait(run.id, RUN_TIMEOUT_S)


class Faults:
    def __init__(self, cluster, dice, rows, kinds):
        self.cluster, self.dice, self.rows = cluster, dice, rows
        self.done = {kind: 0 for kind in kinds}
        self.stopped, self.to_start, self.to_heal = [], [], []  # (when, pid), (when, node), (when, node)

    def due(self, everything=False):
        """Goes on with what is stopped, starts what is dead, when its time has come."""
        now = time.monotonic()
        for when, pid in [one for one in self.stopped if everything or one[0] <= now]:
            kill(pid, signal.SIGCONT)
            self.stopped.remove((when, pid))
        for when, node in [one for one in self.to_start if everything or one[0] <= now]:
            self.cluster.start_node(node, self.cluster.cores[node])
            self.to_start.remove((when, node))

        for when, node in [one for one in self.to_heal if everything or one[0] <= now]:
            self.cluster.heal(node)
            self.to_heal.remove((when, node))

    def cut(self):
        """Of a node where something runs, if there is one; the others would show nothing."""
        busy = [node for node in self.cluster.nodes if node not in [cut for _, cut in self.to_heal] and
                self.cluster.ranks(node)]
        if not busy or self.some_stage_lost_much():
            return False
        node = self.dice.choice(busy)
        self.cluster.cut(node)
        self.to_heal.append((time.monotonic() + self.dice.uniform(0.5, 5) * self.cluster.lease_s, node))
        self.done["link cut"] += 1
        return True

    def choose(self, kind):
        """A process that the fault can hit now, or 0."""
        cluster = self.cluster
        if kind == "worker killed":
            found = cluster.lone_workers()
        elif "rank" in kind:
            found = cluster.gang_ranks()
        elif "daemon" in kind:
            found = cluster.daemons()
        elif "agent" in kind:
            alive = [process.pid for process in cluster.nodes.values() if process.poll() is None]
            found = alive if alive and not self.some_stage_lost_much() else []
        else:
            found = [cluster.coordinator.pid]
        stopped = [pid for _, pid in self.stopped]
        found = [pid for pid in found if pid not in stopped]
        return self.dice.choice(sorted(found)) if found else 0

    def some_stage_lost_much(self):
        if any(pid == self.cluster.coordinator.pid for _, pid in self.stopped):
            return True  # nobody to ask
        open_runs = [run for row in self.rows for run in row.runs[-1:] if run.end is None]
        views = [self.cluster.get(run.id) for run in open_runs]
        return any(view is None or any(stage["state"] != "succeeded" and len(stage["attempts"]) > MOST_LOSSES
                                       for stage in view["stages"]) for view in views)

    def inject(self, kind):
        if kind == "link cut":
            return self.cut()
        pid = self.choose(kind)
        if not pid or not kill(pid, signal.SIGSTOP if "stopped" in kind else signal.SIGKILL):
            return False
        self.done[kind] += 1
        if "stopped" in kind:
            self.stopped.append((time.monotonic() + self.dice.uniform(0.5, 5) * self.cluster.lease_s, pid))
        elif "coordinator" in kind:
            self.cluster.coordinator.wait()
            time.sleep(self.dice.choice((0, 0, self.dice.uniform(0, 0.5))))
            self.cluster.start_coordinator()
        for node, process in self.cluster.nodes.items():
            if kind == "agent killed" and process.pid == pid:
                process.wait()
                self.to_start.append((time.monotonic() + self.dice.choice((0, 0, self.dice.uniform(0, 1))), node))
        return True

    def play(self, count, seconds, pause_s):
        """Until there are `count` of every kind, or the time is over. `pause_s`: the longest between two faults."""
        end = time.monotonic() + seconds
        while min(self.done.values()) < count and time.monotonic() < end and not any(row.problem for row in self.rows):
            self.due()
            time.sleep(self.dice.uniform(0, pause_s))
            # What happened least comes first; where it does not fit now (no gang runs), the next.
            open_kinds = sorted((kind for kind in self.done if self.done[kind] < count),
                                key=lambda kind: (self.done[kind] // 3, self.dice.random()))
            any(self.inject(kind) for kind in open_kinds)
        self.due(everything=True)

    def most_attempts(self):
        """How many attempts the faults can have ended: of a node's agent, all on it; of a coordinator's kill, none."""
        cores = max(self.cluster.cores.values())
        each = {"coordinator killed": 0, "coordinator stopped": sum(self.cluster.cores.values()),
                "agent killed": cores, "agent stopped": cores, "link cut": cores}
        return sum(number * each.get(kind, 1) for kind, number in self.done.items())


class SlotWatch(threading.Thread):
    """Looks again and again whether more workers live on a node than it has cores (each takes one)."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.enough, self.looks, self.found = cluster, threading.Event(), 0, []

    def run(self):
        while not self.enough.wait(0.2):
            self.looks += 1
            for node, cores in list(self.cluster.cores.items()):
                first = self.cluster.ranks(node)
                # Those that are there before and after a moment were all there at that moment.
                together = set(first) & set(self.cluster.ranks(node)) if len(first) > cores else set()
                if len(together) > cores:
                    self.found.append(f"{len(together)} workers on {node}, which has {cores} cores: " +
                                      json.dumps({pid: self.cluster.mark(pid) for pid in together}))
