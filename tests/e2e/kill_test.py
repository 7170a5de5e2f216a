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

from harness import Checks, Gridquant, TIMEOUT_S, children, digests, fresh

MOST_KILLS = 3  # in one round, before the run is let through


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False


class Round:
    def __init__(self, run, dice, seconds, complete, checks):
        self.run, self.dice, self.seconds, self.complete, self.checks = run, dice, seconds, complete, checks
        self.resumed_blocks = 0

    def wait(self, process):
        """Until a random moment: any, or one soon after a random number of blocks was written."""
        if self.dice.random() < 0.4:
            time.sleep(self.dice.uniform(0, self.seconds))
            return
        blocks = self.dice.randint(0, 5)
        while process.poll() is None:
            if len(list(self.run.work.glob("artifacts/quantize-*/checkpoint/*.safetensors"))) >= blocks:
                time.sleep(self.dice.uniform(0, 0.05))
                return
            time.sleep(0.002)

    def disturbed(self, victim):
        """One attempt, killed at a random moment unless it ends before: (status, was something killed, errors)."""
        process = subprocess.Popen(self.run.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   cwd=self.run.folder)
        self.wait(process)
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
        self.resumed_blocks = self.run.report()["quantize"]["resumed_blocks"]
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
    run, kills, resumed = Gridquant(args.binaries, fresh(args.folder)), 0, 0
    for number in range(args.rounds):
        run.forget()
        victim = ("worker", "run", "both")[number % 3]
        this = Round(run, dice, seconds, undisturbed.digests(), checks)
        kills += this.play(victim)
        resumed += this.resumed_blocks
    checks.that(kills > 0, f"something was killed in {args.rounds} rounds")
    checks.that(resumed > 0 or args.rounds < 8, "blocks of killed attempts were taken over")
    print(f"{args.rounds} rounds, {kills} kills, {resumed} blocks taken over from killed attempts; "
          f"an undisturbed run takes {seconds:.1f} s")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
