"""A coordinator and nodes as processes of their own, on loopback with free ports, in one folder."""

import json
import os
import signal
import subprocess

from harness import DATA, PIPELINE, TIMEOUT_S, Outcome, model_folder, until


class Process:
    """A long-running gridquant; ended with its test."""

    def __init__(self, command, log, folder):
        self.log = log
        with open(log, "ab") as out:
            self.process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=out, cwd=folder)

    def kill(self, number=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")


class Cluster:
    def __init__(self, binaries, folder, nodes=("node-a",)):
        self.binary, self.folder = binaries.resolve() / "gridquant", folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shared, self.address, self.nodes = self.folder / "shared", "127.0.0.1:0", {}
        self.model = model_folder().resolve()
        self.coordinator = None
        self.start_coordinator()
        for name in nodes:
            self.start_node(name)

    def start_coordinator(self):
        """Again: on the same port."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        self.coordinator = Process([self.binary, "coordinator", "--workdir", self.shared, "--listen", self.address,
                                    "--ready-file", ready, "--node-lease", "3"], self.folder / "coordinator.log",
                                   self.folder)
        self.until(ready.exists, "the coordinator does not get ready")
        self.address = ready.read_text().strip()

    def start_node(self, name, extra=()):
        self.nodes[name] = Process([self.binary, "node", "--coordinator", self.address, "--name", name, "--workdir",
                                    self.folder / name, "--listen", "127.0.0.1:0", "--heartbeat-ms", "200",
                                    "--grace-ms", "2000", *extra], self.folder / f"{name}.log", self.folder)

    def until(self, holds, what, seconds=60):
        value = until(holds, seconds, pause=0.05)
        if not value:
            raise AssertionError(f"{what}\n{self.logs()}")
        return value

    def logs(self):
        processes = {"coordinator": self.coordinator, **self.nodes}
        return "\n".join(f"--- {name}\n{process.text()[-3000:]}" for name, process in processes.items())

    def arguments(self, verb, *arguments):
        return [str(part) for part in (self.binary, verb, *arguments, "--coordinator", self.address)]

    def call(self, verb, *arguments):
        return Outcome(subprocess.run(self.arguments(verb, *arguments), capture_output=True, text=True,
                                      timeout=TIMEOUT_S, cwd=self.folder))

    def json(self, verb, *arguments):
        outcome = self.call(verb, *arguments, "-o", "json")
        assert outcome.status == 0, outcome
        return json.loads(outcome.out)

    def start(self, verb, *arguments):
        """A verb that takes its time; see finish()."""
        environment = {key: value for key, value in os.environ.items() if key != "GRIDQUANT_COORDINATOR"}
        return subprocess.Popen(self.arguments(verb, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, cwd=self.folder, env=environment)

    @staticmethod
    def finish(process):
        out, err = process.communicate(timeout=TIMEOUT_S)
        return Outcome(subprocess.CompletedProcess(process.args, process.returncode, out, err))

    def params(self, **more):
        values = {"model": self.model, "data": DATA, **more}
        return [part for key, value in values.items() for part in ("-p", f"{key}={value}")]

    def submit(self, *extra, pipeline=PIPELINE, **params):
        """The new run's id."""
        outcome = self.call("submit", pipeline, *self.params(**params), *extra)
        assert outcome.status == 0, outcome
        return outcome.out.split()[0]

    def run(self, run):
        return self.json("get", run)

    def stage(self, run, name):
        return next(stage for stage in self.run(run)["stages"] if stage["name"] == name)

    def wait_for(self, run, *states, seconds=90):
        return self.until(lambda: (view := self.run(run))["state"] in states and view,
                          f"{run} does not get {states}", seconds)

    def stop(self):
        for process in [*self.nodes.values(), self.coordinator]:
            try:
                process.kill(signal.SIGTERM)
            except subprocess.TimeoutExpired:
                process.kill()
