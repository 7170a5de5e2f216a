"""A coordinator that is killed while a gang runs on two nodes: the next one takes the gang over as it is, and nothing
is started twice. A second coordinator on the same state is refused meanwhile. Two agents of one name, an agent that
does not see the store, an agent that is stopped in order: each is told, or tells, in one clear message.

usage: takeover_test.py BIN_FOLDER WORK_FOLDER
"""

import json
import signal
import subprocess
import sys

from harness import Checks, Gridquant, fresh, need, until
from mesh import PIPELINE, Cluster, kill


def attempts(view):
    return {stage["name"]: stage["attempts"] for stage in view["stages"] if stage["attempts"]}


def nodes(cluster):
    return {node["node"]: node for node in json.loads(cluster.call("nodes", "list", "-o", "json").out or "[]")}


def hold(cluster, count, node=None):
    """Stops `count` ranks (for less than the silence after which they would count as hung), so that what is done
    meanwhile is done while they run."""
    def stopped():
        ranks = cluster.ranks(node)
        if len(ranks) != count:
            return None
        held = [pid for pid in ranks if kill(pid, signal.SIGSTOP)]
        if len(held) == count and cluster.ranks(node) == ranks:
            return ranks
        for pid in held:
            kill(pid, signal.SIGCONT)
        return None
    return until(stopped) or []


def takeover(binaries, folder, checks):
    alone = Gridquant(binaries, folder / "alone")
    alone.pipeline = PIPELINE
    checks.that(alone.run().status == 0, "the undisturbed run succeeds")
    with Cluster(binaries, folder / "cluster") as cluster:
        for name in ("a", "b"):
            cluster.start_node(name, 1)
        until(lambda: len(nodes(cluster)) == 2)
        run = cluster.submit("out", {"ranks": 2})
        ranks = hold(cluster, 2)
        checks.that(len(ranks) == 2 and len(cluster.daemons()) == 1, "a gang runs on two nodes", cluster.logs())
        stage = "quantize" if "quantize" in attempts(cluster.get(run)) else "calibrate"
        before = until(lambda: (view := cluster.get(run)) and attempts(view)[stage][0]["pid"] and view, 10)
        second = subprocess.run([cluster.binary, "coordinator", "--workdir", cluster.work, "--listen", "127.0.0.1:0"],
                                capture_output=True, text=True, timeout=30)
        checks.that(second.returncode == 2 and f"is in use by process {cluster.coordinator.pid}" in second.stderr,
                    "a second coordinator on the same state is refused", second)
        kill(cluster.coordinator.pid)
        cluster.coordinator.wait()
        cluster.start_coordinator()
        checks.that(sorted(cluster.ranks()) == sorted(ranks), "the ranks go on", cluster.logs())
        checks.that(until(lambda: all(node["attempts"] for node in nodes(cluster).values())),
                    "the new coordinator knows what runs where", nodes(cluster))
        after = cluster.get(run)
        same = ("number", "node", "ranks", "pid", "started")
        checks.that([[each[key] for key in same] for each in attempts(after)[stage]] ==
                    [[each[key] for key in same] for each in attempts(before)[stage]] and
                    stage in [each["name"] for each in after["stages"] if each["state"] == "running"],
                    "it is the same attempt, with the same process", f"{before}\n{after}")
        for pid in ranks:
            kill(pid, signal.SIGCONT)
        view = cluster.wait(run)
        checks.that(view["state"] == "succeeded", "the run succeeds", f"{view}\n{cluster.logs()}")
        checks.that(all(len(each) == 1 for each in attempts(view).values()), "every stage has had one attempt", view)
        checks.that(cluster.delivered("out") == alone.digests(), "the bytes of gridquant run")
        told = [json.loads(line) for line in cluster.call("watch", run, "-o", "json").out.splitlines()]
        checks.that(sum(one.get("state") == "running" for one in told) == 4, "the event stream tells each once", told)


def end_of(process, timeout_s=30):
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None


def twins(cluster, checks):
    """Two machines that were given one name."""
    first = cluster.start_node("twin", 1)
    until(lambda: "twin" in nodes(cluster))
    log = cluster.folder / "other.log"
    with open(log, "wb") as out:
        other = subprocess.Popen([cluster.binary, "node", "--coordinator", f"127.0.0.1:{cluster.port}", "--workdir",
                                  cluster.folder / "other", "--name", "twin"], stdout=out, stderr=out)
    checks.that(end_of(other) == 1, "the second agent of a name ends", log.read_text())
    checks.that("another agent goes by the name of node twin: give this one a name of its own (--name)" in
                log.read_text(), "and says why", log.read_text())
    checks.that(first.poll() is None and nodes(cluster)["twin"]["alive"], "the first one stays", cluster.logs())


def leaving(cluster, checks):
    """An agent that is stopped in order is not waited for, and costs the stage nothing."""
    run = cluster.submit("left")
    checks.that(hold(cluster, 1, "twin"), "a stage runs there")
    cluster.start_node("next", 1)
    until(lambda: "next" in nodes(cluster))
    cluster.nodes["twin"].send_signal(signal.SIGTERM)
    checks.that(end_of(cluster.nodes["twin"]) == 0, "an agent ends when it is asked to", cluster.log("twin"))
    checks.that(until(lambda: nodes(cluster)["twin"]["state"] == "lost", 1), "it counts as lost at once",
                nodes(cluster))
    view = cluster.wait(run)
    checks.that(view["state"] == "succeeded", "its stage goes on elsewhere", f"{view}\n{cluster.logs()}")
    moved = [each for each in attempts(view).values() if len(each) > 1]
    checks.that(len(moved) == 1 and moved[0][0]["message"] == "its node was drained", "as after a drain", view)
    forgotten = cluster.call("nodes", "forget", "twin")
    checks.that(forgotten.status == 0 and "twin" not in nodes(cluster), "a lost node is forgotten", forgotten)


def blind(cluster, checks):
    """An agent that sees another folder under the store's path."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        print("the store that is not shared is left out: this machine lends no mount namespaces")
        return
    cluster.call("nodes", "drain", "next")
    log = cluster.folder / "blind.log"
    with open(log, "wb") as out:
        node = subprocess.Popen(["unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$1" && shift && exec "$@"', "sh",
                                 cluster.work, cluster.binary, "node", "--coordinator", f"127.0.0.1:{cluster.port}",
                                 "--workdir", cluster.folder / "blind", "--name", "blind"], stdout=out, stderr=out)
    try:
        until(lambda: "blind" in nodes(cluster))
        run = cluster.submit("unseen", {"samples": 2})
        words = f"node blind does not see the coordinator's store under {cluster.work}"
        checks.that(until(lambda: words in cluster.call("explain", run).text), "explain says what is not seen",
                    cluster.call("explain", run))
        cluster.call("nodes", "undrain", "next")
        cluster.call("nodes", "drain", "blind")
        view = cluster.wait(run)
        checks.that(view["state"] == "succeeded", "the run goes on where it is seen", view)
    finally:
        node.terminate()
        end_of(node)


def main():
    need("mpirun")
    binaries, folder = sys.argv[1], fresh(sys.argv[2])
    checks = Checks()
    takeover(binaries, folder, checks)
    with Cluster(binaries, folder / "agents") as cluster:
        twins(cluster, checks)
        leaving(cluster, checks)
        blind(cluster, checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
