"""A coordinator and agents on one machine: the same bytes as `gridquant run`, for one rank, ranks on one node, ranks on
several, and after losing a node for good; logs and progress arrive; nothing is left behind.

usage: cluster_test.py BIN_FOLDER WORK_FOLDER
"""

import sys
import time

from mesh import PIPELINE, Cluster, kill
from harness import Checks, Gridquant, fresh


def run_alone(binaries, folder):
    """The digests that every cluster must end with."""
    alone = Gridquant(binaries, folder)
    alone.pipeline = PIPELINE
    outcome = alone.run()
    return alone.digests(), outcome


def finished(cluster, checks, name, params, expected):
    run = cluster.submit(name, params)
    view = cluster.wait(run)
    checks.that(view["state"] == "succeeded", f"{name}: succeeds", f"{view}\n{cluster.logs()}")
    checks.that(cluster.delivered(name) == expected, f"{name}: the bytes of gridquant run")
    checks.that(cluster.nothing_left(), f"{name}: no process is left")
    return run, view


def attempts(view, stage):
    return next(one for one in view["stages"] if one["name"] == stage)["attempts"]


def one_node(binaries, folder, expected, checks):
    with Cluster(binaries, folder) as cluster:
        cluster.start_node("a")
        run, view = finished(cluster, checks, "one", {"ranks": 1}, expected)
        checks.that(attempts(view, "quantize")[0]["node"] == "a", "the attempt names its node", view)
        log = cluster.call("logs", run, "quantize")
        checks.that(log.status == 0 and "attempt 1" in log.text, "the worker's log is with the coordinator", log)


def ranks(binaries, folder, expected, checks, hosts, count):
    with Cluster(binaries, folder) as cluster:
        for name, cores in hosts.items():
            cluster.start_node(name, cores)
        name = f"{count}-on-{len(hosts)}"
        time.sleep(1)
        _, view = finished(cluster, checks, name, {"ranks": count}, expected)
        checks.that(attempts(view, "quantize")[-1].get("ranks") == count, f"{name}: {count} ranks", view)


def losing_a_node(binaries, folder, expected, checks):
    with Cluster(binaries, folder) as cluster:
        for name in ("a", "b"):
            cluster.start_node(name, 1)
        time.sleep(1)
        run = cluster.submit("lost", {"ranks": 2})
        deadline = time.monotonic() + 60
        while len(cluster.ranks()) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        checks.that(len(cluster.ranks()) == 2, "two ranks run", cluster.logs())
        kill(cluster.nodes["b"].pid)
        cluster.nodes["b"].wait()
        view = cluster.wait(run)
        checks.that(view["state"] == "succeeded", "a lost node: the run goes on with fewer ranks",
                    f"{view}\n{cluster.logs()}")
        checks.that(attempts(view, "quantize")[-1].get("ranks", 1) == 1, "with the one that is left", view)
        checks.that(cluster.delivered("lost") == expected, "a lost node: the same bytes")
        checks.that(cluster.nothing_left(), "a lost node: no process is left")


def main():
    binaries, folder = sys.argv[1], fresh(sys.argv[2])
    checks = Checks()
    expected, outcome = run_alone(binaries, folder / "alone")
    if not checks.that(bool(expected), "gridquant run succeeds", outcome):
        return checks.finish()
    one_node(binaries, folder / "one", expected, checks)
    ranks(binaries, folder / "two", expected, checks, {"a": 2}, 2)
    ranks(binaries, folder / "three", expected, checks, {"a": 2, "b": 1}, 3)
    losing_a_node(binaries, folder / "lost", expected, checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
