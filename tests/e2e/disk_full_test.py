"""A disk that fills up in the middle of a run: the coordinator's state, then the folder of the artifacts, then that of
the logs, on a small filesystem of their own. What is said names the folder; no acknowledged run is lost, nothing is
corrupt; once there is space it goes on: after a restart of the coordinator where that had to stop, after `gridquant
retry` where a stage has failed, by itself where only logs could not be written. The bytes are those of an undisturbed
run.

usage: disk_full_test.py BIN_FOLDER WORK_FOLDER
Exit status 77 (ctest: skipped) where a filesystem must not be mounted.
"""

import json
import os
import subprocess
import sys
import time

from faults_test import Expected
from harness import Checks, fresh, until
from mesh import Cluster

INSIDE = "GRIDQUANT_E2E_MOUNTS"  # set in the process that has mounts of its own
VARIANT = {"samples": 4}


class Disk:
    """A small filesystem, and something that fills it."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "gridquant-test", str(folder)], check=True)

    def fill(self):
        with open(self.folder / "ballast", "ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    pass

    def free(self):
        (self.folder / "ballast").unlink()

    def remove(self):
        subprocess.run(["umount", "-l", str(self.folder)], check=False)


def keep_full(disk, cluster, seconds=3):
    """Fills what becomes free, too, until the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and cluster.coordinator.poll() is None:
        disk.fill()
        time.sleep(0.05)


def goes_on(cluster, run, name, expected, checks):
    """To the right bytes, by itself or by `retry`."""
    view = cluster.wait(run)
    if view["state"] == "failed":
        reason = str(view["reason"])
        # The second is plan's, which looks before anything is written.
        full = "no space left" in reason.lower() or "only 0 are free" in reason
        checks.that(full and str(cluster.folder) in reason, f"{name}: the reason names what is full, and where", reason)
        again = cluster.call("retry", run, "-o", "json")
        if not checks.that(again.status == 0, f"{name}: retry", again):
            return
        run = json.loads(again.out.splitlines()[0])["run"]
        view = cluster.wait(run)
    checks.that(view["state"] == "succeeded", f"{name}: goes on once there is space", f"{view}\n{cluster.logs()}")
    checks.that(cluster.delivered(name) == expected, f"{name}: the bytes of an undisturbed run")
    checks.that(cluster.nothing_left(), f"{name}: no process is left", cluster.marked())


def state_is_full(binaries, folder, expected, checks):
    cluster = Cluster(binaries, folder, lease_s=5)
    disk = Disk(cluster.work, "24m")
    store = folder / "store"
    store.mkdir()
    cluster.coordinator_extra = ("--store", store)
    try:
        with cluster:
            cluster.start_node("a", 2)
            run = cluster.submit("state", VARIANT, extra=["--no-cache"])
            checks.that(until(lambda: cluster.ranks("a")), "a stage runs", cluster.logs())
            disk.fill()
            acknowledged = {"state": run}
            try:  # accepted or refused: the list at the end tells whether the answer was true
                acknowledged["more"] = cluster.submit("more", {"samples": 2})
            except RuntimeError as refused:
                checks.that("state" in str(refused) or "coordinator" in str(refused), "it says why", refused)
            keep_full(disk, cluster)
            stopped = cluster.coordinator.poll()
            print(f"coordinator with a full disk: exit status {stopped}; it says: {cluster.log('coordinator', 400)}")
            if stopped is not None:
                checks.that(str(cluster.work) in cluster.log("coordinator") and "full" in cluster.log("coordinator"),
                            "the coordinator says which disk is full", cluster.log("coordinator"))
            disk.free()
            if stopped is not None:
                cluster.start_coordinator()
            goes_on(cluster, run, "state", expected, checks)
            rows = {row["run"] for row in json.loads(cluster.call("list", "-o", "json").out)}
            checks.that(rows.issuperset(acknowledged.values()), "the acknowledged runs are there", rows)
    finally:
        disk.remove()


def artifacts_are_full(binaries, folder, expected, checks):
    """A worker cannot write: more attempts would not help, so the stage fails and the user tries again."""
    cluster = Cluster(binaries, folder, lease_s=5)
    disk = Disk(folder / "store", "64m")
    cluster.coordinator_extra = ("--store", disk.folder)
    try:
        with cluster:
            cluster.start_node("a", 2)
            run = cluster.submit("artifacts", VARIANT)
            began = until(lambda: list(disk.folder.glob("artifacts/calibrate-*")))
            checks.that(began, "calibrate began", cluster.logs())
            keep_full(disk, cluster)
            disk.free()
            view = cluster.wait(run)
            checks.that(view["state"] == "failed", "the run fails", view)
            print(f"artifacts' disk full: {view.get('reason', '')}")
            goes_on(cluster, run, "artifacts", expected, checks)
    finally:
        disk.remove()


def logs_are_full(binaries, folder, expected, checks):
    """Nothing ends because of it; what could not be written comes once there is space."""
    cluster = Cluster(binaries, folder, lease_s=5)
    disk = Disk(cluster.work / "runs", "1m")
    disk.fill()
    try:
        with cluster:
            cluster.start_node("a", 2)
            run = cluster.submit("logs", VARIANT, extra=["--no-cache"])
            view = cluster.wait(run)
            checks.that(view["state"] == "succeeded", "the run goes on without its logs", f"{view}\n{cluster.logs()}")
            checks.that(cluster.delivered("logs") == expected, "logs: the bytes of an undisturbed run")
            told = cluster.log("coordinator", 100_000)
            checks.that(told.count("logs of runs cannot be written") == 1 and str(disk.folder) in told,
                        "the coordinator says so once, and where", told)
            checks.that("no connection to the coordinator" not in cluster.log("a", 100_000), "the session goes on",
                        cluster.log("a"))
            checks.that("attempt 1" not in cluster.call("logs", run).out, "there is no log yet")
            disk.free()
            checks.that(until(lambda: all(f"{stage}, attempt 1" in cluster.call("logs", run, stage).out
                                          for stage in ("analyze", "calibrate", "plan", "quantize"))),
                        "the logs come when there is space", f"{cluster.call('logs', run)}\n{cluster.logs()}")
    finally:
        disk.remove()


def main():
    binaries = sys.argv[1]
    if INSIDE not in os.environ:
        probe = subprocess.run(["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=1m gridquant-test /mnt"],
                               capture_output=True, text=True)
        if probe.returncode != 0:
            print(f"SKIPPED: no filesystem may be mounted here: {probe.stderr.strip()}")
            return 77
        return subprocess.run(["unshare", "-m", sys.executable, "-B", *sys.argv], check=False,
                              env={**os.environ, INSIDE: "1"}).returncode
    checks, folder = Checks(), fresh(sys.argv[2])
    expected = Expected(binaries, folder / "alone")(VARIANT)
    state_is_full(binaries, folder / "state", expected, checks)
    artifacts_are_full(binaries, folder / "artifacts", expected, checks)
    logs_are_full(binaries, folder / "logs", expected, checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
