"""The verbs of a cluster against a real coordinator and a real node: what they do, print and how they exit."""

import json
import signal
import sys
import time
from pathlib import Path

from cluster import Cluster
from harness import Checks, Gridquant, PIPELINE, digests, fresh

BATCH = """apiVersion: gridquant/v1
kind: Batch
metadata: {{name: {name}}}
spec:
  pipeline: {pipeline}
  params: {{model: "{model}", data: "{data}"}}
  matrix: {matrix}
  maxParallel: 1
  failFast: true
"""


def same_bytes(checks, cluster, local):
    """`gridquant run` here and `submit` there leave the same files; what comes twice is done once."""
    outcome = cluster.call("submit", PIPELINE, *cluster.params(), "--output", "out-1", "--watch",
                           "--idempotency-key", "k")
    checks.that(outcome.status == 0, "a pipeline runs on the cluster", f"{outcome}\n{cluster.logs()}")
    checks.that("started on node-a" in outcome.err and "perplexity" in outcome.out, "it looks as a local run", outcome)
    here = local.run()
    checks.that(here.status == 0, "the same pipeline runs here", here)
    there = digests(cluster.folder / "out-1" / "checkpoint")
    checks.that(there is not None and there == local.digests(), "both checkpoints have the same bytes")
    again = cluster.call("submit", PIPELINE, *cluster.params(), "--output", "out-1", "--idempotency-key", "k")
    checks.that(again.out.split()[:1] == outcome.out.split()[:1], "the same key gives the same run", again)
    checks.that(len(cluster.json("list")) == 1, "and there is one run only")
    other = cluster.call("submit", PIPELINE, *cluster.params(bits=3), "--output", "out-1", "--idempotency-key", "k")
    checks.that(other.status == 5, "the same key with another content is refused", other)
    return outcome.out.split()[0]


def looking(checks, cluster, run):
    """get, list, logs, explain, watch and nodes of a run that is over."""
    view = cluster.run(run)
    checks.that(view["state"] == "succeeded" and len(view["stages"]) == 5, "get -o json tells the stages", view)
    checks.that(view["delivery"] == "done", "it is delivered", view)
    checks.that(all(stage["attempts"][0]["node"] == "node-a" for stage in view["stages"]), "attempts name their node")
    wide = cluster.call("get", run, "-o", "wide")
    checks.that("node-a" in wide.out and "└─ validate" in wide.out, "get -o wide shows the node", wide)
    checks.that(f"run: {run}" in cluster.call("list", "-o", "yaml").out, "list -o yaml names the run")
    checks.that("default" in cluster.call("list", "-o", "wide").out, "list -o wide shows the queue")
    log = cluster.call("logs", run, "quantize")
    checks.that(log.status == 0 and "note: " in log.out, "logs of a stage", log)
    everything = cluster.call("logs", "-f", run)
    checks.that(everything.status == 0 and "quantize | note" in everything.out,
                "logs -f of a run that is over ends", everything)
    explained = cluster.call("explain", run, "plan")
    checks.that(explained.status == 0 and "plan: succeeded" in explained.out, "explain of a stage", explained)
    watched = cluster.call("watch", run, "-o", "json")
    events = [json.loads(line) for line in watched.out.splitlines()]
    checks.that(watched.status == 0 and events[0]["event"] == "run_started", "watch tells a run that is over", watched)
    checks.that(sum(event.get("state") == "succeeded" for event in events) == 6, "five stages and the run", watched)
    node = cluster.json("nodes", "list")[0]
    checks.that(node["node"] == "node-a" and node["state"] == "ready" and node["coresUsed"] == 0, "nodes list", node)
    checks.that(cluster.call("nodes", "list", "-o", "wide").out.startswith("NODE"), "nodes list -o wide")


def refusals(checks, cluster, run):
    bad = cluster.folder / "bad.yaml"
    text = PIPELINE.read_text(encoding="utf-8")
    bad.write_text(text.replace("needs: calibrate", "need: calibrate", 1), encoding="utf-8")
    there = cluster.call("submit", "bad.yaml", *cluster.params())
    here = Gridquant(cluster.binary.parent, cluster.folder).call("validate", "bad.yaml")
    checks.that(there.status == 2 and there.err == here.err and "^~~~" in there.err, "mistakes read as of validate",
                f"{there}\n{here}")
    checks.that(cluster.call("submit", "bad.yaml", "--dry-run", *cluster.params()).status == 2, "also in a dry run")
    dry = cluster.call("submit", PIPELINE, "--dry-run", *cluster.params())
    checks.that(dry.status == 0 and "ok (5 stages), not submitted" in dry.out, "a dry run of a good file", dry)
    missing = cluster.call("submit", PIPELINE, *cluster.params(model="/nowhere"))
    checks.that(missing.status == 2 and "/nowhere" in missing.err and "under this very path" in missing.err,
                "a model that is not there", missing)
    checks.that(cluster.call("get", "nothing-1").status == 3, "get of no run")
    checks.that(cluster.call("explain", run, "nothing").status == 3, "explain of no stage")
    over = cluster.call("cancel", run)
    checks.that(over.status == 5 and "over" in over.err, "cancel of a run that is over", over)
    checks.that(cluster.call("retry", run).status == 5, "retry of a run that succeeded")
    checks.that(cluster.call("nodes", "drain", "nobody").status == 3, "drain of no node")


def stopping(checks, cluster):
    """drain, explain, pause, resume, a coordinator that is killed under a watcher, cancel, retry."""
    checks.that(cluster.call("nodes", "drain", "node-a").status == 0, "drain")
    run = cluster.submit("--output", "out-2", bits=3)
    cluster.until(lambda: cluster.stage(run, "plan")["state"] == "ready", "plan does not wait")
    why = cluster.call("explain", run, "plan")
    checks.that("drain" in why.out, "explain says that the node drains", why)
    checks.that(cluster.stage(run, "calibrate")["cached"], "what another run has made is not made again")
    checks.that(cluster.call("pause", run).status == 0, "pause")
    watcher, follower = cluster.start("watch", run), cluster.start("logs", "-f", run)
    time.sleep(0.5)
    cluster.coordinator.kill(signal.SIGKILL)
    time.sleep(0.5)
    cluster.start_coordinator()
    cluster.until(lambda: cluster.json("nodes", "list")[0]["alive"], "the node does not come back")
    checks.that(cluster.call("nodes", "undrain", "node-a").status == 0, "undrain")
    time.sleep(0.5)
    checks.that(cluster.stage(run, "plan")["state"] == "ready", "what is paused does not start, also after a restart")
    checks.that(cluster.call("resume", run).status == 0, "resume")
    watched = Cluster.finish(watcher)
    checks.that(watched.status == 0 and "connected again" in watched.err, "a watcher survives the coordinator", watched)
    checks.that(watched.err.count("paused:") == 1 and f"run {run} succeeded" in watched.err,
                "and tells everything once", watched)
    followed = Cluster.finish(follower)
    whole = cluster.call("logs", run)
    checks.that(followed.status == 0 and followed.out == whole.out and "quantize | " in whole.out,
                "logs -f gives every byte once, over the same restart", f"{followed}\n{whole}")
    run = cluster.submit("--output", "out-3", bits=2)
    cluster.call("pause", run)
    checks.that(cluster.call("cancel", run, "--reason", "no need").status == 0, "cancel")
    checks.that(cluster.wait_for(run, "cancelled")["reason"] == "no need", "the reason is kept")
    retried = cluster.call("retry", run, "--watch")
    checks.that(retried.status == 0, "retry", retried)
    again = retried.out.split()[0]
    checks.that(cluster.run(again)["retryOf"] == run, "the new run says what it repeats")
    checks.that(cluster.stage(again, "calibrate")["cached"], "retry keeps what is committed")


def leaving(checks, cluster):
    cluster.call("nodes", "drain", "node-a")
    process = cluster.start("submit", PIPELINE, *cluster.params(bits=8), "--output", "out-4", "--watch")
    run = cluster.until(lambda: [row["run"] for row in cluster.json("list") if row["state"] == "running"], "no run")[0]
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    left = Cluster.finish(process)
    checks.that(left.status == 130 and f"{run} goes on" in left.err, "Ctrl-C leaves the run and says so", left)
    checks.that(cluster.run(run)["state"] == "running", "it goes on")
    checks.that(cluster.call("cancel", run, "--force").status == 0, "cancel --force")
    cluster.wait_for(run, "cancelled")
    cluster.call("nodes", "undrain", "node-a")
    return run


def batches(checks, cluster):
    def write(name, matrix):
        path = cluster.folder / f"{name}.yaml"
        path.write_text(BATCH.format(name=name, pipeline=PIPELINE, model=cluster.model, data=PIPELINE.parents[2] /
                                     "models" / "data", matrix=matrix), encoding="utf-8")
        return path
    good = cluster.call("submit", write("sweep", "{bits: [4, 3]}"), "--output", "out-sweep", "--watch")
    checks.that(good.status == 0 and "2 of 2 runs succeeded" in good.err, "a batch runs", good)
    batch = good.out.split()[0]
    runs = cluster.json("get", batch)["runs"]
    views = [cluster.run(run["run"]) for run in runs]
    checks.that(len(views) == 2 and all(view["batch"] == batch for view in views), "get of a batch", runs)
    checks.that(len(cluster.json("list", "--batch", batch)) == 2, "list --batch")
    bad = cluster.call("submit", write("broken", "{sequenceLength: [1000000, 128]}"), "--watch")
    states = [run["state"] for run in cluster.json("get", bad.out.split()[0])["runs"]]
    checks.that(bad.status == 1 and states == ["failed", "cancelled"], "failFast: the first failure cancels the rest",
                f"{bad}\n{states}")


def queues(checks, cluster):
    checks.that(cluster.call("queues", "set", "small", "--cores", "1", "--memory", "1Gi").status == 0, "queues set")
    queue = cluster.json("queues", "list")
    checks.that(queue == [{"queue": "small", "cores": 1, "gpus": 0, "memoryBytes": 1 << 30}], "queues list", queue)
    text = PIPELINE.read_text(encoding="utf-8").replace("spec:\n", "spec:\n  queue: small\n", 1)
    text = text.replace("plan: {uses: plan,", "plan: {resources: {cores: 2}, uses: plan,")
    path = cluster.folder / "queued.yaml"
    path.write_text(text, encoding="utf-8")
    run = cluster.submit("--output", "out-5", pipeline=path, bits=8)
    cluster.until(lambda: cluster.stage(run, "plan")["state"] == "ready", "plan does not wait")
    why = cluster.call("explain", run, "plan")
    checks.that("quota" in why.out, "explain says that the quota is too small", why)
    checks.that(cluster.call("queues", "set", "small", "--cores", "2").status == 0, "the quota is raised")
    checks.that(cluster.wait_for(run, "succeeded") is not None, "and the run goes on")


def forgetting(checks, cluster, local, run):
    before = len(cluster.json("list"))
    checks.that(cluster.call("delete", run).status == 0 and cluster.call("get", run).status == 3, "delete")
    checks.that(len(cluster.json("list")) == before - 1, "list does not show it any more")
    cluster.json("gc", "--min-age", "0s")
    again = cluster.run(cluster.submit("--output", "out-1", "--watch"))
    checks.that(all(stage["cached"] for stage in again["stages"]), "gc leaves what runs refer to", again)
    for row in cluster.json("list"):
        cluster.call("delete", row["run"])
    would = cluster.json("gc", "--dry-run", "--min-age", "0s")
    checks.that(would["removedCount"] > 0 and would["dryRun"], "gc --dry-run says what it would remove", would)
    done = cluster.call("gc", "--min-age", "0s")
    checks.that(done.status == 0 and "removed" in done.out, "gc removes", done)
    checks.that(cluster.json("gc", "--min-age", "0s")["removedCount"] == 0, "and leaves nothing to remove")
    left = [path.name for path in (cluster.shared / "artifacts").iterdir() if path.name[0] != "."]
    checks.that(not left and not (cluster.shared / ".trash").exists(), "nothing is left in the store", left)
    delivered = digests(cluster.folder / "out-1" / "checkpoint")
    checks.that(delivered == local.digests(), "what was delivered stays")
    cluster.coordinator.kill(signal.SIGTERM)
    gone = cluster.call("list", "--patience", "0.5")
    checks.that(gone.status == 4 and "is it running" in gone.err, "nobody answers", gone)


def main():
    binaries, folder = Path(sys.argv[1]), fresh(Path(sys.argv[2]))
    checks = Checks()
    cluster = Cluster(binaries, folder / "cluster")
    try:
        cluster.until(lambda: cluster.json("nodes", "list"), "the node does not join")
        local = Gridquant(binaries, folder / "local")
        run = same_bytes(checks, cluster, local)
        looking(checks, cluster, run)
        refusals(checks, cluster, run)
        stopping(checks, cluster)
        run = leaving(checks, cluster)
        batches(checks, cluster)
        queues(checks, cluster)
        forgetting(checks, cluster, local, run)
    finally:
        cluster.stop()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
