"""Faults at random moments while a small cluster works: processes killed (coordinator, agent, worker of a stage without
a gang, rank of a gang, Open MPI's daemon) or stopped for 0.5 to 5 leases (coordinator, agent, rank). Whatever happened,
I1 to I8 hold (invariants.py).

usage: faults_test.py BIN_FOLDER WORK_FOLDER [CAMPAIGN] [--count N] [--seconds S] [--seed S]
--count: faults of every kind; --seconds: no new ones after that time, and then a quarter of them is enough (a machine
that is slow); more is missing only where nothing goes on, and that is a failure.
"""

import argparse
import random
import sys
import time
from dataclasses import dataclass

from campaign import KILLS, STOPS, Faults, Rows, RUN_TIMEOUT_S, SlotWatch
from harness import Checks, Gridquant, fresh
from invariants import check
from mesh import PIPELINE, Cluster

VARIANTS = [{"samples": samples} for samples in (2, 4, 6)]  # results that differ, of stages that are partly shared


@dataclass
class Campaign:
    kinds: tuple
    cores: tuple     # of every node
    ranks: tuple     # a run has one of these
    rows: int        # runs at the same time
    pause_s: float   # the longest between two faults
    count: int = 100
    lease_s: float = 2


CAMPAIGNS = {
    "coordinator": Campaign(KILLS[:1], (2, 1), (1, 2, 3), 2, 0.4),
    "agent": Campaign(KILLS[1:2], (1, 1, 2), (1, 1, 2), 3, 0.4),
    "worker": Campaign(KILLS[2:3], (2, 2), (1,), 4, 0.5),
    "gang": Campaign(KILLS[3:], (1,) * 8, (2, 3), 4, 0.4),
    "stops": Campaign(STOPS, (2, 1, 1), (1, 2, 3), 3, 0.5, count=10, lease_s=1),
    "all": Campaign(KILLS + STOPS, (2, 1, 1), (1, 2, 3, 3), 3, 0.4, count=5, lease_s=1),
}


class Expected:
    """The bytes of a variant, by `gridquant run`."""

    def __init__(self, binaries, folder):
        self.alone, self.known = Gridquant(binaries, folder), {}
        self.alone.pipeline = PIPELINE

    def __call__(self, variant):
        key = str(variant)
        if key not in self.known:
            outcome = self.alone.run(variant)
            if outcome.status != 0:
                raise RuntimeError(f"gridquant run: {outcome}")
            self.known[key] = self.alone.digests()
        return self.known[key]


def play(args, campaign, cluster, checks):
    """The runs and the faults, once all is over."""
    for number, cores in enumerate(campaign.cores):
        cluster.start_node(f"n{number}", cores)
    rows = [Rows(cluster, random.Random(args.seed + 1 + number), VARIANTS, campaign.ranks, number)
            for number in range(campaign.rows)]
    faults, slots = Faults(cluster, random.Random(args.seed), rows, campaign.kinds), SlotWatch(cluster)
    for thread in [slots, *rows]:
        thread.start()
    begin = time.monotonic()
    faults.play(args.count, args.seconds, campaign.pause_s)
    seconds = time.monotonic() - begin
    for row in rows:
        row.enough.set()
    for row in rows:
        row.join(RUN_TIMEOUT_S)
        checks.that(not row.is_alive() and row.problem is None, f"the last run of a row ends: {row.problem}",
                    cluster.logs())
    slots.enough.set()
    slots.join()
    checks.that(slots.looks > 0 and not slots.found, "I6: no slot has two holders", "\n".join(slots.found))
    return [run for row in rows for run in row.runs], faults, seconds


def judge(args, name, played, checks):
    """I8, and whether there were faults enough."""
    runs, faults, seconds, again = played
    most, least = faults.most_attempts(), min(faults.done.values())
    checks.that(len(again) <= most, f"I8: {len(again)} attempts were made again, the faults explain {most}",
                "\n".join(again))
    enough = args.count if seconds < args.seconds else max(1, args.count // 4)
    checks.that(least >= enough, f"only {least} faults of a kind in {seconds:.0f} s, {args.count} were asked for")
    print(f"{name}: {len(runs)} runs in {seconds:.0f} s, {len(again)} attempts made again; " +
          ", ".join(f"{count} x {kind}" for kind, count in faults.done.items()))
    if checks.failed:
        print("again: " + " ".join(sys.argv) + f" --count {args.count} --seconds {args.seconds:g} --seed {args.seed}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries")
    parser.add_argument("folder")
    parser.add_argument("campaign", nargs="?", choices=CAMPAIGNS, default="all")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    campaign = CAMPAIGNS[args.campaign]
    args.count = args.count or campaign.count
    checks, folder = Checks(), fresh(args.folder)
    expected = Expected(args.binaries, folder / "alone")
    for variant in VARIANTS:
        expected(variant)
    with Cluster(args.binaries, folder / "cluster", lease_s=campaign.lease_s) as cluster:
        runs, faults, seconds = play(args, campaign, cluster, checks)
        again = check(cluster, runs, expected, random.Random(args.seed), checks)
        if checks.failed:
            print(cluster.logs())
    judge(args, args.campaign, (runs, faults, seconds, again), checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
