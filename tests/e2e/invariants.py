"""What holds on a cluster whatever happened to it (I1 to I8), once its runs are over."""

import json


def events_of(text):
    """What a watcher was told of the run and its stages. Notes and progress have no number: they are not kept."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [{key: value for key, value in line.items() if key != "seq"} for line in lines
            if "number" in line and line.get("event") in ("run_started", "stage", "run_ended")]


def without_attempts(events):
    """From the middle on a watcher cannot count attempts."""
    return [{key: value for key, value in event.items() if key not in ("attempt", "seconds")} for event in events]


def fresh_events(cluster, run, after=0):
    outcome = cluster.call("watch", run, "-o", "json", *(["--after", after] if after else []))
    return events_of(outcome.out), outcome


def acknowledged_are_there(cluster, runs, checks):
    """I1: what was acknowledged is there, and a submission that was repeated is there once."""
    outcome = cluster.call("list", "-o", "json")
    found = sorted(row["run"] for row in json.loads(outcome.out)) if outcome.status == 0 else None
    checks.that(found == sorted(run.id for run in runs), "I1: the acknowledged runs, and no others", outcome)


def ends_stay(run, view, checks):
    """I2"""
    checks.that(view["state"] == "succeeded", f"{run.name} ({run.id}): succeeds", view)
    same = run.end is not None and all(run.end.get(key) == view.get(key) for key in ("state", "finished"))
    checks.that(same, f"I2: {run.name}: its end stays as it was", f"{run.end}\n{view}")


def stages_are_committed_once(run, view, events, checks):
    """I2, I3 and I5, as the events tell it."""
    needs = {stage["name"]: stage["needs"] for stage in view["stages"]}
    committed, early, again = set(), [], []
    for event in events:
        if event["event"] == "stage":
            stage, state = event["stage"], event["state"]
            if stage in committed:
                again.append(event)
            if state == "running" and not committed.issuperset(needs[stage]):
                early.append(event)
            if state == "succeeded":
                committed.add(stage)
    checks.that(not again and committed == set(needs), f"I3: {run.name}: every stage is committed once",
                again or events)
    checks.that(not early, f"I5: {run.name}: no stage starts before its needs", early)
    ends = [number for number, event in enumerate(events) if event["event"] == "run_ended"]
    checks.that(ends == [len(events) - 1], f"I2: {run.name}: nothing after its only end", events)


def stream_can_be_resumed(cluster, run, view_events, dice, checks):
    """I7: the client refuses gaps and repetitions; and what comes after any number is the rest of the whole stream."""
    try:
        run.watcher.wait(30)
    except Exception:  # judged by what it has printed
        run.watcher.kill()
        run.watcher.wait()
    text = (cluster.folder / f"watch-{run.name}.json").read_text(errors="replace")
    checks.that(events_of(text) == view_events, f"I7: {run.name}: who watched over all faults saw the same events",
                f"{text[-3000:]}\n--- instead of\n{view_events}")
    after = dice.randint(0, view_events[-1]["number"])
    rest, outcome = fresh_events(cluster, run.id, after)
    expected = [event for event in view_events if event["number"] > after]
    checks.that(outcome.status == 0 and without_attempts(rest) == without_attempts(expected),
                f"I7: {run.name}: the events after number {after}", f"{outcome}\n--- instead of\n{expected}")


def nothing_is_left(cluster, checks):
    """I6, at the end: no process, no slot."""
    checks.that(cluster.nothing_left(), "I6: no process is left", [cluster.mark(pid) for pid in cluster.marked()])
    nodes = cluster.until_nodes(lambda found: not any(node["coresUsed"] for node in found))
    checks.that(nodes is not None, "I6: no slot is taken", cluster.call("nodes", "list", "-o", "json"))


def check(cluster, runs, expected, dice, checks):
    """Everything but I8. `expected`: from a run's variant to the digests of the undisturbed run. Returns the attempts
    that had to be made again, with what the coordinator says of their end."""
    acknowledged_are_there(cluster, runs, checks)
    again = []
    for run in runs:
        view = cluster.get(run.id)
        if not checks.that(view is not None, f"I1: {run.name} ({run.id}) is known"):
            continue
        ends_stay(run, view, checks)
        delivered = cluster.delivered(run.name)
        checks.that(delivered == expected(run.variant), f"I4: {run.name}: the bytes of an undisturbed run", delivered)
        events, outcome = fresh_events(cluster, run.id)
        if checks.that(outcome.status == 0 and len(events) > 1, f"I7: {run.name}: its events", outcome):
            stages_are_committed_once(run, view, events, checks)
            stream_can_be_resumed(cluster, run, events, dice, checks)
        again += [f"{run.name} ({run.id}), {stage['name']}: {attempt}"
                  for stage in view["stages"] for attempt in stage["attempts"][:-1]]
    nothing_is_left(cluster, checks)
    return again
