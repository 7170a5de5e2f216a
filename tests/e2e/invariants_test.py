"""Whether the checks of the campaigns of faults (invariants.py, and I8 in faults_test.py) see what they are for: a
world that is right passes them all, and each of many small wrongs, planted in it, is told by the check that it
belongs to.

usage: invariants_test.py (whatever follows is ignored)
"""

import contextlib
import copy
import io
import json
import random
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import faults_test
from campaign import Faults, Run
from harness import Checks
from invariants import check

VARIANT, DIGESTS = {"samples": 2}, {"config.json": "c", "model.safetensors": "m"}


def stage_event(number, stage, state, attempt=1):
    return {"event": "stage", "number": number, "stage": stage, "state": state, "attempt": attempt, "seconds": 0.5}


def right_events():
    return [{"event": "run_started", "number": 1},
            stage_event(2, "analyze", "running"), stage_event(3, "analyze", "succeeded"),
            stage_event(4, "quantize", "running"), stage_event(5, "quantize", "ready"),
            stage_event(6, "quantize", "running", 2), stage_event(7, "quantize", "succeeded", 2),
            {"event": "run_ended", "number": 8, "state": "succeeded"}]


class World:
    """What the checks ask of a cluster (mesh.Cluster), as a cluster would answer that ran one run."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.events = right_events()    # what the coordinator tells now
        self.watched = right_events()   # what a watcher saw over all faults
        self.listed, self.digests, self.left, self.cores_used = ["gang-1"], dict(DIGESTS), [], 0
        attempts = {"analyze": [{"outcome": "succeeded"}], "quantize": [{"outcome": "retry"}, {"outcome": "succeeded"}]}
        self.view = {"run": "gang-1", "state": "succeeded", "finished": "2026-01-01T00:00:00Z", "stages": [
            {"name": "analyze", "needs": [], "attempts": attempts["analyze"]},
            {"name": "quantize", "needs": ["analyze"], "attempts": attempts["quantize"]}]}
        self.run = Run("row0-0", VARIANT, 1)
        self.run.id, self.run.end = "gang-1", copy.deepcopy(self.view)
        self.run.watcher = SimpleNamespace(wait=lambda timeout: 0)
        self.later = lambda events, after: [event for event in events if event["number"] > after]
        self.cores, self.kills = {"n0": 2}, {"worker killed": 1}

    def call(self, verb, *arguments):
        lines = []
        if verb == "list":
            lines = [json.dumps([{"run": run} for run in self.listed])]
        if verb == "watch":
            after = int(arguments[arguments.index("--after") + 1]) if "--after" in arguments else 0
            lines = [json.dumps(event) for event in self.later(self.events, after)]
        return SimpleNamespace(status=0, out="\n".join(lines) + "\n")

    def get(self, run):
        return self.view if run == "gang-1" else None

    def delivered(self, _):
        return self.digests

    def marked(self):
        return self.left

    def mark(self, pid):
        return f"process {pid}"

    def nothing_left(self):
        return not self.left

    def until_nodes(self, condition):
        nodes = [{"name": "n0", "coresUsed": self.cores_used}]
        return nodes if condition(nodes) else None


def failures(world):
    """The first words of the checks that fail."""
    (world.folder / f"watch-{world.run.name}.json").write_text("".join(json.dumps(one) + "\n" for one in world.watched))
    checks, printed = Checks(), io.StringIO()
    with contextlib.redirect_stdout(printed):
        again = check(world, [world.run], lambda variant: DIGESTS, random.Random(1), checks)
        faults = Faults(world, random.Random(1), [], ())
        faults.done = world.kills
        args = SimpleNamespace(count=1, seconds=100, seed=1)
        faults_test.judge(args, "planted", ([world.run], faults, 1, again), checks)
    return {line.split()[1].rstrip(":") for line in printed.getvalue().splitlines() if line.startswith("FAIL ")}


def drop(events, number):
    events[:] = [event for event in events if event["number"] != number]


def both(change):
    """In what the coordinator tells and in what the watcher saw."""
    def planted(world):
        change(world.events)
        change(world.watched)
    return planted


def after_the_end(events):
    events.append(stage_event(9, "quantize", "running"))


def committed_again(events):
    events.insert(7, stage_event(7, "quantize", "succeeded", 2))


def too_early(events):
    events[1], events[3] = events[3], events[1]


PLANTED = {
    "a run is lost": ("I1", lambda world: world.listed.clear()),
    "a submission is there twice": ("I1", lambda world: world.listed.append("gang-2")),
    "a run is not known": ("I1", lambda world: setattr(world.run, "id", "gang-7")),
    "a run fails": ("row0-0", lambda world: (world.view.update(state="failed"), world.run.end.update(state="failed"))),
    "an end changes": ("I2", lambda world: world.run.end.update(finished="2026-01-01T00:00:01Z")),
    "an end was never seen": ("I2", lambda world: setattr(world.run, "end", None)),
    "a run goes on after its end": ("I2", both(after_the_end)),
    "a stage is committed twice": ("I3", both(committed_again)),
    "a stage is never committed": ("I3", both(lambda events: drop(events, 7))),
    "other bytes": ("I4", lambda world: world.digests.update({"model.safetensors": "x"})),
    "a missing file": ("I4", lambda world: world.digests.pop("config.json")),
    "a stage starts before its needs": ("I5", both(too_early)),
    "a process is left": ("I6", lambda world: world.left.append(1)),
    "a slot is left": ("I6", lambda world: setattr(world, "cores_used", 1)),
    "the watcher missed an event": ("I7", lambda world: drop(world.watched, 4)),
    "the watcher saw an event twice": ("I7", lambda world: world.watched.insert(3, world.watched[2])),
    "an event is gone since": ("I7", lambda world: drop(world.events, 4)),
    "a stream goes on at the wrong place": ("I7", lambda world: setattr(
        world, "later", lambda events, after: [event for event in events if event["number"] > (after and after + 1)])),
    "no events": ("I7", lambda world: world.events.clear()),
    "work was done again without a fault": ("I8", lambda world: world.kills.update({"worker killed": 0})),
}


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        found = failures(World(folder))
        checks.that(not found, "a world that is right passes", found)
        for name, (expected, plant) in PLANTED.items():
            world = World(folder)
            plant(world)
            found = failures(world)
            checks.that(expected in found, f"{name}: {expected} tells it", found)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
