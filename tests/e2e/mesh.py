"""A cluster on this machine: a real coordinator and real agents, each agent a node with a name and a folder of its own.

Every process that belongs to a node carries a mark that begins with the node's id (node/launch/marked.h): that is how
it is checked that nothing is left.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from harness import DATA, Outcome, digests, model_folder

PIPELINE = Path(__file__).resolve().parent / "gang.yaml"
CALL_TIMEOUT_S = 60


def processes():
    """(pid, state, environment) of every process that we may look at."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            state = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            environment = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        yield int(name), state, environment


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def is_rank(pid):
    """Whether mpirun or a daemon of it has started the process."""
    try:
        return b"OMPI_COMM_WORLD_RANK=" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


class Cluster:
    def __init__(self, binaries, folder, lease_s=3):
        self.binary, self.folder, self.lease_s = Path(binaries).resolve() / "gridquant", Path(folder).resolve(), lease_s
        self.work, self.port, self.coordinator = self.folder / "work", 0, None
        self.nodes, self.cores, self.host, self.coordinator_extra = {}, {}, "127.0.0.1", ()
        self.folder.mkdir(parents=True, exist_ok=True)

    # ---- processes

    def command(self, place, arguments):
        """Of a gridquant that runs where `place` (a node, or "coordinator") is."""
        return [str(self.binary), *map(str, arguments)]

    def spawn(self, name, arguments):
        log = open(self.folder / f"{name}.log", "ab")
        with log:
            return subprocess.Popen(self.command(name, arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    cwd=self.folder)

    def start_coordinator(self):
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        self.coordinator = self.spawn("coordinator", [
            "coordinator", "--listen", f"{self.host}:{self.port}", "--workdir", self.work, "--node-lease", self.lease_s,
            "--grace", 1, "--ready-file", ready, *self.coordinator_extra])
        deadline = time.monotonic() + 30
        while not ready.exists():
            if self.coordinator.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the coordinator does not come up:\n" + self.log("coordinator"))
            time.sleep(0.01)
        self.port = int(ready.read_text().strip().rpartition(":")[2])

    def start_node(self, name, cores=2, extra=()):
        self.cores[name] = cores
        self.nodes[name] = self.spawn(name, [
            "node", "--coordinator", f"{self.host}:{self.port}", "--workdir", self.folder / name, "--name", name,
            "--cores", cores, "--heartbeat-ms", 200, "--rank-silence-ms", 4000, "--grace-ms", 1000,
            *(extra or ("--mpi-interfaces", "lo"))])
        return self.nodes[name]

    def stop(self):
        for process in [*self.nodes.values(), self.coordinator]:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in [*self.nodes.values(), self.coordinator]:
            if process is None:
                continue
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self):
        self.start_coordinator()
        return self

    def __exit__(self, *_):
        self.stop()
        for pid in self.marked():
            kill(pid)

    def log(self, name, characters=3000):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-characters:] if path.exists() else ""

    def logs(self):
        return "".join(f"--- {name}\n{self.log(name)}" for name in ["coordinator", *self.nodes])

    def marked(self, node=None):
        """Processes that belong to a node's attempts (of all nodes, if none is named); zombies do not count."""
        ids = [(self.folder / name / "id") for name in ([node] if node else self.nodes)]
        prefixes = [b"GRIDQUANT_MARK=" + path.read_bytes() + b":" for path in ids if path.exists()]
        return [pid for pid, state, environment in processes()
                if state != "Z" and any(one.startswith(prefix) for one in environment for prefix in prefixes)]

    def ranks(self, node=None):
        return [pid for pid in self.marked(node) if "gridquant-worker" in command_of(pid).split(" ")[0]]

    def mark(self, pid):
        """The mark that a process of a node carries, and what it is."""
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            environment = []
        mark = next((one for one in environment if one.startswith(b"GRIDQUANT_MARK=")), b"").decode()
        return f"{mark} {command_of(pid)[:200]}"

    def gang_ranks(self):
        return [pid for pid in self.ranks() if is_rank(pid)]

    def lone_workers(self):
        return [pid for pid in self.ranks() if not is_rank(pid)]

    def daemons(self):
        return [pid for pid in self.marked() if command_of(pid).startswith("/usr/bin/orted")]

    # ---- calls

    def call(self, verb, *arguments):
        command = self.command("coordinator", [verb, *arguments, "--coordinator", f"{self.host}:{self.port}"])
        return Outcome(subprocess.run(command, capture_output=True, text=True, errors="replace",
                                      timeout=CALL_TIMEOUT_S, cwd=self.folder))

    def submit(self, name, params=None, pipeline=PIPELINE, key=None, extra=()):
        """The run's id; its checkpoint is delivered to FOLDER/out-NAME."""
        values = {"model": model_folder(), "data": DATA, **(params or {})}
        arguments = [pipeline, "--output", self.folder / f"out-{name}", "-o", "json"]
        for parameter, value in values.items():
            arguments += ["-p", f"{parameter}={value}"]
        outcome = self.call("submit", *arguments, *extra, *(["--idempotency-key", key] if key else []))
        if outcome.status != 0:
            raise RuntimeError(f"submit: {outcome}\n{self.logs()}")
        return json.loads(outcome.out.splitlines()[0])["run"]

    def get(self, run):
        outcome = self.call("get", run, "-o", "json")
        return json.loads(outcome.out) if outcome.status in (0, 1) and outcome.out.startswith("{") else None

    def wait(self, run, timeout_s=120):
        """The run, once it is over; as it is then if it takes too long."""
        deadline = time.monotonic() + timeout_s
        while True:
            view = self.get(run)
            if view and view["state"] in ("succeeded", "failed", "cancelled"):
                return view
            if time.monotonic() > deadline:
                return view or {"state": "unknown"}
            time.sleep(0.1)

    def delivered(self, name, timeout_s=20):
        """Digests of the delivered checkpoint: delivery comes after the run's end."""
        folder, deadline = self.folder / f"out-{name}" / "checkpoint", time.monotonic() + timeout_s
        while not folder.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return digests(folder)

    def until_nodes(self, condition, timeout_s=15):
        """All nodes, once the condition holds of them; None if it never does."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            outcome = self.call("nodes", "list", "-o", "json")
            nodes = json.loads(outcome.out) if outcome.status == 0 else []
            if len(nodes) == len(self.nodes) and condition(nodes):
                return nodes
            time.sleep(0.1)
        return None

    def nothing_left(self, timeout_s=15):
        deadline = time.monotonic() + timeout_s
        while self.marked():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True
