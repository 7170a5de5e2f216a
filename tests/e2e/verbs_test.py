"""Every verb of a cluster where it is refused, in every format, and with every exit code; equal stages of two runs that
are under way; addresses at which no coordinator is. What the verbs do when all is well: cluster_test.py.

usage: verbs_test.py BIN_FOLDER WORK_FOLDER
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from cluster import Cluster
from harness import Checks, DATA, Outcome, PIPELINE, fresh

DONE, FAILED, USAGE, NOT_FOUND, UNREACHABLE, REFUSED = range(6)


def absent(checks, cluster):
    """What is not there."""
    cases = (
        (["get", "x-1"], NOT_FOUND, "there is no run 'x-1': see gridquant list"),
        (["watch", "x-1"], NOT_FOUND, "there is no run 'x-1': see gridquant list"),
        (["logs", "x-1"], NOT_FOUND, "there is no run 'x-1': see gridquant list"),
        (["explain", "x-1"], NOT_FOUND, "there is no run 'x-1': see gridquant list"),
        (["cancel", "x-1"], NOT_FOUND, "there is no run 'x-1': see gridquant list"),
        (["pause", "x-1"], NOT_FOUND, "there is no run 'x-1': see gridquant list"),
        (["resume", "x-1"], NOT_FOUND, "there is no run 'x-1': see gridquant list"),
        (["retry", "x-1"], NOT_FOUND, "there is no run 'x-1': see gridquant list"),
        (["delete", "x-1"], NOT_FOUND, "there is no run 'x-1': see gridquant list"),
        (["nodes", "drain", "x"], NOT_FOUND, "there is no node 'x': see gridquant nodes list"),
        (["nodes", "undrain", "x"], NOT_FOUND, "there is no node 'x': see gridquant nodes list"),
        (["nodes", "forget", "x"], NOT_FOUND, "there is no node 'x': see gridquant nodes list"),
        (["submit", "nothing.yaml"], USAGE, "nothing.yaml"),
        (["submit", PIPELINE, "-p", "bits"], USAGE, "-p takes key=value, not 'bits'"),
        (["submit", PIPELINE, "-p", "bist=4", *cluster.params()], USAGE, "-p gives 'bist', which this"),
        (["submit", PIPELINE, "--idempotency-key", "a b"], USAGE, "without spaces"),
        (["queues", "set", "q", "--cores", "-1"], USAGE, "--cores: Value -1 not in range 0"),
        (["gc", "--min-age", "old"], USAGE, "'old' is no duration such as 90s"),
        (["get", "-o", "xml"], USAGE, "xml not in {text,wide,json,yaml}"),
    )
    for arguments, status, words in cases:
        outcome = cluster.call(*arguments)
        checks.that(outcome.status == status and words in outcome.err and outcome.err.count("\n") <= 4,
                    f"{' '.join(map(str, arguments))}: {words}", outcome)
    empty = cluster.call("list")
    checks.that(empty.status == DONE and empty.out == "" and "no such run yet" in empty.err, "an empty list", empty)
    command = Outcome(subprocess.run([cluster.binary, "sumbit"], capture_output=True, text=True))
    checks.that(command.status == USAGE and "there is no command 'sumbit'" in command.err, "no such command", command)


def refused(checks, cluster, over, paused):
    cases = (
        (["cancel", over], f"error: run {over} is over (succeeded)"),
        (["pause", over], f"error: run {over} is over (succeeded)"),
        (["resume", over], f"error: run {over} is over (succeeded)"),
        (["retry", over], f"run {over} has succeeded: there is nothing to repeat"),
        (["retry", paused], f"run {paused} is not over (running): wait for its end, or cancel it"),
        (["delete", paused], f"run {paused} is not over: cancel it first"),
        (["pause", paused], f"run {paused} is paused already"),
        (["nodes", "undrain", "node-a"], "node node-a is not being drained"),
        (["nodes", "forget", "node-a"], "node node-a is alive: stop its agent, or wait until it counts as lost"),
    )
    for arguments, words in cases:
        outcome = cluster.call(*arguments)
        checks.that(outcome.status == REFUSED and words in outcome.err, f"{' '.join(arguments)}: {words}", outcome)


def formats(checks, cluster, run):
    """JSON of each view parses; text, wide and yaml name what it is about."""
    for arguments, name in ((["get", run], run), (["list"], run), (["nodes", "list"], "node-a"),
                            (["queues", "list"], "team")):
        data = cluster.json(*arguments)
        first = data if isinstance(data, dict) else data[0]
        checks.that(name in json.dumps(data) and isinstance(first, dict), f"{arguments[0]} -o json", data)
        for form in ("text", "wide", "yaml"):
            outcome = cluster.call(*arguments, "-o", form)
            checks.that(outcome.status == DONE and name in outcome.out, f"{arguments[0]} -o {form}", outcome)
        keys = [line.split(":")[0].strip("- ") for line in cluster.call(*arguments, "-o", "yaml").out.splitlines()]
        checks.that(set(first) <= set(keys), f"{arguments[0]} -o yaml has every field", keys)
    dry = cluster.call("submit", PIPELINE, "--dry-run", "-o", "json", *cluster.params())
    checks.that(json.loads(dry.out)["names"] == ["analyze", "calibrate", "plan", "quantize", "validate"],
                "a dry run", dry)
    error = json.loads(cluster.call("submit", PIPELINE, "-o", "json", *cluster.params(bits=5)).out)
    place = error[0] if isinstance(error, list) else error["diagnostics"][0]
    checks.that(place["file"].endswith("quick.yaml") and place["line"] > 1 and place["column"] >= 1, "mistakes as JSON",
                error)


def together(checks, cluster):
    """Two equal runs that are submitted while none of their stages has ended: each stage is made once."""
    cluster.call("nodes", "drain", "node-a")
    first, second = cluster.submit("--output", "out-1"), cluster.submit("--output", "out-2")
    why = cluster.until(lambda: "makes the same result" in (text := cluster.call("explain", second).out) and text,
                        "the second run does not wait for the first one")
    checks.that(f"waits for stage 'analyze' of run {first}, which makes the same result" in why, "explain says so", why)
    draining = cluster.call("explain", first, "analyze")
    checks.that("on 0 nodes that it may use, 1 draining" in draining.out, "and that the only node drains", draining)
    cluster.call("nodes", "undrain", "node-a")
    views = [cluster.wait_for(run, "succeeded", "failed") for run in (first, second)]
    made = [[stage["name"] for stage in view["stages"] if stage["attempts"]] for view in views]
    checks.that(len(made[0]) == 5 and not made[1], "each stage was made once", made)
    checks.that(all(view["state"] == "succeeded" for view in views), "and both runs have it", views)
    return first


def labelled(checks, cluster, run):
    """The stage that asks for a label goes to the node that has it."""
    cluster.start_node("node-b", ["--label", "zone=b"])
    cluster.until(lambda: len(cluster.json("nodes", "list")) == 2, "node-b does not join")
    cluster.call("resume", run)
    view = cluster.wait_for(run, "succeeded", "failed")
    where = {stage["name"]: stage["attempts"][0]["node"] for stage in view["stages"] if stage["attempts"]}
    checks.that(view["state"] == "succeeded" and where["plan"] == "node-b", "a label decides where", view)
    ended = cluster.nodes.pop("node-b").kill(signal.SIGTERM)
    checks.that(ended == 0 and "zone=b" in cluster.call("nodes", "list", "-o", "wide").out, "labels are shown")


def waiting(checks, cluster):
    """What stages wait for, in one sentence each."""
    text = PIPELINE.read_text(encoding="utf-8")
    plan = "plan: {uses: plan,"
    cases = (
        (32, "resources: {cores: 1, memory: 64Ti}", "65536 GiB", "and even when idle they hold only 0"),
        (128, "resources: {cores: 1, nodeSelector: {zone: b}}", "zone=b", "1 without these labels"),
        (-1, "resources: {cores: 1, gang: {ranks: 1000}}", "1000 ranks", "and even when idle they hold only"),
    )
    for number, (group, resources, *words) in enumerate(cases):  # of one group size they would be equal stages
        path = cluster.folder / f"wait-{number}.yaml"
        path.write_text(text.replace(plan, f"plan: {{{resources}, uses: plan,", 1), encoding="utf-8")
        run = cluster.submit("--output", f"out-wait-{number}", pipeline=path, groupSize=group)
        cluster.until(lambda: cluster.stage(run, "plan")["state"] == "ready", f"plan of {run} does not wait")
        why = cluster.call("explain", run, "plan").out
        checks.that(all(word in why.replace("67108864 MiB", "65536 GiB") for word in words),
                    f"it waits: {resources}", why)
        checks.that("waits for stage 'plan' (ready)" in cluster.call("explain", run, "quantize").out, "for its needs")
        cluster.call("pause", run)
        paused = cluster.call("explain", run, "plan").out
        checks.that("waits because its run is paused" in paused, "it is paused", paused)
        if "zone" in resources:
            labelled(checks, cluster, run)
        if number > 0:
            cluster.call("cancel", run)
    return next(row["run"] for row in cluster.json("list") if row.get("paused"))


def late(checks, cluster):
    """Time limits of an attempt, a stage and a run."""
    text = """apiVersion: gridquant/v1
kind: Pipeline
metadata: {{name: late}}
spec: {{{run}
  defaults: {{retry: {{maxAttempts: 2, backoff: {{initial: 10ms, factor: 2, max: 10ms}}, on: [infrastructure]}}}},
  stages: {{
    analyze: {{uses: analyze, with: {{model: "{model}"}}}},
    calibrate: {{uses: calibrate, needs: analyze, {stage} resources: {{cores: 1}},
      with: {{datasets: [{{path: "{data}/calibration.en.txt", language: en}}], samples: {samples},
             sequenceLength: 128}}}}}}}}
"""
    cases = (("", "timeout: 500ms,", "timed out after 500 ms (timeout of the stage) (attempt 2 of 2", 2),
             ("", "deadline: 1s,", "(deadline of the stage)", 1),
             ("deadline: 1s,", "", "it took longer than its deadline of 1 s", None))
    runs = []
    for number, (run, stage, *_) in enumerate(cases):
        path = cluster.folder / f"late-{number}.yaml"
        path.write_text(text.format(run=run, stage=stage, samples=600 - number, model=cluster.model, data=DATA))
        runs.append(cluster.call("submit", path, "--output", f"out-late-{number}").out.split()[0])
    for run, (_, _, words, attempts) in zip(runs, cases):
        view = cluster.wait_for(run, "failed", "succeeded")
        checks.that(view["state"] == "failed" and words in view["reason"], f"it is late: {words}", view)
        checks.that(attempts in (None, len(view["stages"][1]["attempts"])), "an attempt is repeated, a stage is not",
                    view)


def batch(checks, cluster):
    """A batch where a run is meant, and texts that are none."""
    path = cluster.folder / "sweep.yaml"
    path.write_text(f"""apiVersion: gridquant/v1
kind: Batch
metadata: {{name: sweep}}
spec:
  pipeline: {PIPELINE}
  params: {{model: "{cluster.model}", data: "{DATA}"}}
  matrix: {{bits: [3, 2]}}
""", encoding="utf-8")
    run = cluster.call("submit", path, "--output", "out-sweep").out.split()[0]
    runs = [each["run"] for each in cluster.json("get", run)["runs"]]
    words = f"'{run}' is a batch: name one of its runs, {runs[0]} to {runs[1]}"
    for arguments in (["explain", run], ["logs", run], ["retry", run]):
        outcome = cluster.call(*arguments)
        checks.that(outcome.status == NOT_FOUND and words in outcome.err, f"{' '.join(arguments)}: {words}", outcome)
    checks.that(cluster.call("pause", run).out == f"{runs[0]} paused\n{runs[1]} paused\n", "pause of a batch")
    checks.that(cluster.call("resume", run).status == DONE, "resume of a batch")
    checks.that(cluster.call("cancel", run).status == DONE, "cancel of a batch")
    for each in runs:
        cluster.wait_for(each, "cancelled")
    deleted = cluster.call("delete", run)
    checks.that(deleted.out == f"{runs[0]} deleted\n{runs[1]} deleted\n", "delete of a batch", deleted)
    checks.that(cluster.call("get", run).status == NOT_FOUND, "and it is gone")
    strange = cluster.folder / "strange.yaml"
    strange.write_bytes(b"apiVersion: gridquant/v1\nkind: Pipeline\nmetadata: {name: \"a\xff\"}\n")
    outcome = cluster.call("submit", "strange.yaml")
    checks.that(outcome.status == USAGE and outcome.err.startswith(
        "strange.yaml:3:20: error[GQ0002]: the file is not UTF-8 text from here on"), "a file that is no text", outcome)
    command = [os.fsencode(cluster.binary), b"get", b"\xff", b"--coordinator", cluster.address.encode()]
    outcome = Outcome(subprocess.run(command, capture_output=True, text=True, timeout=30))
    checks.that(outcome.status == USAGE and outcome.err.startswith("gridquant: argument 2 is no UTF-8 text"),
                "an argument that is no text", outcome)


def elsewhere(checks, cluster):
    """Addresses at which no coordinator is."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    agent = cluster.json("nodes", "list")[0]["address"]
    for address, status, words in (
            ("127.0.0.1:1", UNREACHABLE, "the coordinator at 127.0.0.1:1 cannot be reached: is it running"),
            (f"127.0.0.1:{server.server_port}", UNREACHABLE, "cannot be reached: is it running"),
            (agent, UNREACHABLE, f"what answers at {agent} cannot do that: it is no coordinator"),
            ("localhost", USAGE, "address is HOST:PORT, such as localhost:7733, not 'localhost'"),
            ("", USAGE, "address is HOST:PORT")):
        command = [cluster.binary, "list", "--coordinator", address, "--patience", "0.5"]
        outcome = Outcome(subprocess.run(command, capture_output=True, text=True, timeout=30))
        checks.that(outcome.status == status and words in outcome.err and outcome.err.count("\n") == 1,
                    f"--coordinator {address}", outcome)
    server.shutdown()
    for arguments, words in (
            (["coordinator", "--listen", cluster.address, "--workdir", "new"],
             "is the address of this machine, and free?"),
            (["node", "--coordinator", "nowhere", "--workdir", "new-node"], "address is HOST:PORT"),
            (["node", "--coordinator", cluster.address, "--workdir", "new-node", "--name", "a b"],
             "the name of a node has 1 to 253 letters"),
            (["node", "--coordinator", cluster.address, "--workdir", "new-node", "--listen", "0.0.0.0:0"],
             "say --insecure-listen"),
            (["node", "--coordinator", cluster.address, "--workdir", "node-a"], "another agent works in this folder")):
        outcome = Outcome(subprocess.run([cluster.binary, *arguments], capture_output=True, text=True, timeout=30,
                                         cwd=cluster.folder))
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        checks.that(outcome.status in (FAILED, USAGE) and len(lines) == 1 and words in lines[0],
                    f"{' '.join(arguments)}", outcome)


def strangers(checks, cluster):
    """What an agent's launcher starts on another node: orted, for a live lease, with its secret, and nothing else."""
    agent = cluster.json("nodes", "list")[0]
    ticket = {"epoch": 1, "secret": "guessed", "aliases": {"gq1": {"node": agent["node"], "address": agent["address"]}}}
    for arguments, words in (
            (["gq1", "ls", "-l", "/"], "only orted is started on another node, not 'ls'"),
            (["gq1", "/bin/sh", "-c", "orted"], "only orted is started on another node, not '/bin/sh'"),
            (["gq1", "orted", "-mca", "ess", "$(id)"], "an argument of orted would need a shell: '$(id)'"),
            (["gq1", "orted", "--version"], "lends nothing to attempt 1, or not to this caller"),
            (["gq1", "orted", "-mca", "ess", "env"], "lends nothing to attempt 1, or not to this caller"),
            (["gq2", "orted"], "'gq2' is no node of this gang")):
        outcome = Outcome(subprocess.run([cluster.binary, "rsh-agent", *arguments], capture_output=True, text=True,
                                         timeout=30, env={**os.environ, "GRIDQUANT_GANG": json.dumps(ticket)}))
        checks.that(outcome.status != DONE and outcome.out == "" and words in outcome.err, f"{' '.join(arguments)}",
                    outcome)


def dying(checks, cluster, paused):
    """A coordinator that dies under a watcher, and does not come back."""
    watcher = cluster.start("watch", paused, "--patience", "1")
    time.sleep(1)
    cluster.coordinator.kill()
    left = Cluster.finish(watcher)
    checks.that(left.status == UNREACHABLE and "was lost; the run goes on" in left.err and
                left.err.splitlines()[-1].startswith(f"error: the coordinator at {cluster.address} cannot be reached"),
                "a watcher of a coordinator that is gone", left)


def main():
    os.environ.pop("GRIDQUANT_COORDINATOR", None)
    checks = Checks()
    cluster = Cluster(Path(sys.argv[1]), fresh(Path(sys.argv[2])))
    try:
        cluster.until(lambda: cluster.json("nodes", "list"), "the node does not join")
        absent(checks, cluster)
        over = together(checks, cluster)
        paused = waiting(checks, cluster)
        refused(checks, cluster, over, paused)
        cluster.call("queues", "set", "team", "--cores", "3")
        formats(checks, cluster, over)
        late(checks, cluster)
        batch(checks, cluster)
        elsewhere(checks, cluster)
        strangers(checks, cluster)
        dying(checks, cluster, paused)
    finally:
        cluster.stop()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
