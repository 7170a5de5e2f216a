"""Links cut and healed: the coordinator and every node in a network namespace of its own, all on one bridge. A cut
takes a node's port off the bridge, so that what it sends vanishes and nobody is told. Agents come back, and I1 to I8
hold; a cut inside a gang is noticed by Open MPI's keepalive in seconds, though the node's lease goes on.

usage: network_test.py BIN_FOLDER WORK_FOLDER [--count N] [--seconds S] [--seed S]
Exit status 77 (ctest: skipped) where namespaces are not allowed.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import time

import faults_test
from faults_test import Campaign, Expected, VARIANTS
from harness import Checks, fresh, until
from invariants import check
from mesh import Cluster

NOTICED_S = 30  # keepalive needs about 5 s; a machine that is busy, longer; Open MPI's own default is 8 minutes
CAMPAIGN = Campaign(("link cut",), (1, 1, 1), (1, 2, 3), 2, 1.0, count=12, lease_s=1)


def ip(*arguments):
    return subprocess.run(["ip", *map(str, arguments)], capture_output=True, text=True, timeout=30)


class Network:
    """One bridge; its namespace is the coordinator's, too."""

    def __init__(self):
        self.prefix, self.ports = f"gq{os.getpid()}", {}

    def space(self, place):
        return f"{self.prefix}-{place}"

    def make(self):
        """Why it is not possible, or ""."""
        if shutil.which("ip") is None:
            return "there is no ip (package iproute2)"
        center = self.space("coordinator")
        for arguments in (("netns", "add", center), ("-n", center, "link", "set", "lo", "up"),
                          ("-n", center, "link", "add", "br0", "type", "bridge"),
                          ("-n", center, "addr", "add", "10.77.0.1/24", "dev", "br0"),
                          ("-n", center, "link", "set", "br0", "up")):
            done = ip(*arguments)
            if done.returncode != 0:
                return f"ip {' '.join(arguments)}: {done.stderr.strip()}"
        return self.add("probe")

    def add(self, node):
        center, space, port = self.space("coordinator"), self.space(node), f"v{len(self.ports)}"
        self.ports[node] = port
        for arguments in (("netns", "add", space), ("-n", space, "link", "set", "lo", "up"),
                          ("-n", center, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space),
                          ("-n", center, "link", "set", port, "master", "br0", "up"),
                          ("-n", space, "addr", "add", f"{self.address(node)}/24", "dev", "eth0"),
                          ("-n", space, "link", "set", "eth0", "up")):
            done = ip(*arguments)
            if done.returncode != 0:
                return f"ip {' '.join(arguments)}: {done.stderr.strip()}"
        return ""

    def address(self, node):
        return f"10.77.0.{10 + int(self.ports[node][1:])}"

    def set(self, node, *how):
        done = ip("-n", self.space("coordinator"), "link", "set", self.ports[node], *how)
        if done.returncode != 0:
            raise RuntimeError(f"{node}: {done.stderr}")

    def remove(self):
        for place in ["coordinator", *self.ports]:
            ip("netns", "del", self.space(place))


class NetworkCluster(Cluster):
    def __init__(self, network, binaries, folder, lease_s):
        super().__init__(binaries, folder, lease_s)
        self.network, self.host, self.coordinator_extra = network, "10.77.0.1", ("--insecure-listen",)

    def command(self, place, arguments):
        return ["ip", "netns", "exec", self.network.space(place), *super().command(place, arguments)]

    def start_node(self, name, cores=2, extra=()):
        if name not in self.network.ports:
            problem = self.network.add(name)
            if problem:
                raise RuntimeError(problem)
        return super().start_node(name, cores, ("--listen", f"{self.network.address(name)}:0", "--insecure-listen",
                                                "--mpi-interfaces", "eth0", *extra))

    def cut(self, node):
        self.network.set(node, "nomaster")

    def heal(self, node):
        self.network.set(node, "master", "br0")


def cut_inside_a_gang(args, network, expected, checks):
    """With a lease that outlives the test: what notices is the keepalive of the gang's own connections."""
    with NetworkCluster(network, args.binaries, args.folder / "gang", lease_s=300) as cluster:
        for node in ("a", "b"):
            cluster.start_node(node, 1)
        cluster.until_nodes(lambda nodes: True)
        run = cluster.submit("cut", {**VARIANTS[0], "ranks": 2})
        both = until(lambda: all(cluster.ranks(node) for node in ("a", "b")) and len(cluster.gang_ranks()) == 2, 60)
        checks.that(both, "a gang runs on both nodes", cluster.logs())
        cluster.cut("b")
        begin = time.monotonic()
        gone = until(lambda: not cluster.marked("a") and not cluster.marked("b"), NOTICED_S)
        seconds = time.monotonic() - begin
        checks.that(gone, f"both sides of a cut gang end it within {NOTICED_S} s", cluster.logs())
        cluster.heal("b")
        view = cluster.wait(run)
        checks.that(view["state"] == "succeeded", "after the cut has healed the run goes on",
                    f"{view}\n{cluster.logs()}")
        checks.that(cluster.delivered("cut") == expected(VARIANTS[0]), "a cut gang: the same bytes")
        checks.that(cluster.nothing_left(), "a cut gang: no process is left", cluster.marked())
        print(f"a cut inside a gang: both sides have ended it after {seconds:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries")
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=CAMPAIGN.count)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    checks, args.folder = Checks(), fresh(args.folder)
    expected, network = Expected(args.binaries, args.folder / "alone"), Network()
    try:
        problem = network.make()
        if problem:
            print(f"SKIPPED: no network namespaces here: {problem}")
            return 77
        cut_inside_a_gang(args, network, expected, checks)
        with NetworkCluster(network, args.binaries, args.folder / "cluster", CAMPAIGN.lease_s) as cluster:
            runs, faults, seconds = faults_test.play(args, CAMPAIGN, cluster, checks)
            back = cluster.until_nodes(lambda nodes: all(node["alive"] for node in nodes))
            checks.that(back is not None, "all agents are connected again", cluster.logs())
            again = check(cluster, runs, expected, random.Random(args.seed), checks)
            if checks.failed:
                print(cluster.logs())
    finally:
        network.remove()
    faults_test.judge(args, "network", (runs, faults, seconds, again), checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
