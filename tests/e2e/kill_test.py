"""kill -9 at random moments: of `gridquant run`, of its worker, and of both. The same command again must end with the
checkpoint of an undisturbed run, byte for byte, and no partial output may ever look complete.

usage: kill_test.py BIN_FOLDER WORK_FOLDER [--rounds N] [--seed S]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time

from harness import Checks, Gridquant, TIMEOUT_S, digests, fresh

MOST_KILLS = 3  # in one round, before the run is let through


def children(pid):
    """Process ids of the workers that a process has started; zombies do not count."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(name))
    return found


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False


class Round:
    def __init__(self, run, dice, seconds, complete, checks):
        self.run, self.dice, self.seconds, self.complete, self.checks = run, dice, seconds, complete, checks

    def disturbed(self, victim):
        """One attempt, killed at a random moment unless it ends before: (status, was something killed, errors)."""
        process = subprocess.Popen(self.run.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   cwd=self.run.folder)
        time.sleep(self.dice.uniform(0, self.seconds))
        killed = False
        if victim in ("worker", "both"):
            killed = any([kill(pid) for pid in children(process.pid)])
        if victim in ("run", "both") and process.poll() is None:
            killed = kill(process.pid) or killed
        _, errors = process.communicate(timeout=TIMEOUT_S)
        self.checks.that(digests(self.run.output / "checkpoint") in (None, self.complete),
                         "after the kill the checkpoint is absent or complete")
        return process.returncode, killed, errors

    def play(self, victim):
        kills = 0
        for _ in range(self.dice.randint(1, MOST_KILLS)):
            status, killed, errors = self.disturbed(victim)
            kills += killed
            if status == 0:
                break
            expected = victim != "worker" or killed
            self.checks.that(expected, f"status {status} without a kill of the run:\n{errors[-2000:]}")
        outcome = self.run.run()
        self.checks.that(outcome.status == 0, f"{victim} killed {kills} times: the same command succeeds", outcome)
        self.checks.that(self.run.digests() == self.complete, f"{victim} killed {kills} times: the same bytes", outcome)
        return kills


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries")
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=8, help="of each victim kind together")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"seed {args.seed}")
    checks, dice = Checks(), random.Random(args.seed)
    undisturbed = Gridquant(args.binaries, fresh(args.folder + "-undisturbed"))
    begin = time.monotonic()
    outcome = undisturbed.run()
    seconds = time.monotonic() - begin
    if not checks.that(outcome.status == 0, "the undisturbed run succeeds", outcome):
        return checks.finish()
    run, kills = Gridquant(args.binaries, fresh(args.folder)), 0
    for number in range(args.rounds):
        run.forget()
        victim = ("worker", "run", "both")[number % 3]
        kills += Round(run, dice, seconds, undisturbed.digests(), checks).play(victim)
    checks.that(kills > 0, f"something was killed in {args.rounds} rounds")
    print(f"{args.rounds} rounds, {kills} kills, an undisturbed run takes {seconds:.1f} s")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
