"""The whole pipeline on the small model: what a run leaves, that a second run does nothing twice, that a changed
parameter makes again only what depends on it, and that a damaged stored result is noticed."""

import json
import sys

from harness import Checks, Gridquant, fresh

STAGES = ["analyze", "calibrate", "plan", "quantize", "validate"]


def check_first_run(run, checks):
    outcome = run.run()
    if not checks.that(outcome.status == 0, "the run succeeds", outcome):
        return False
    files = run.digests()
    for name in ("config.json", "quantize_config.json", "tokenizer.json"):
        checks.that(name in files, f"the checkpoint has {name}")
    checks.that(any(name.endswith(".safetensors") for name in files), "the checkpoint has weights")
    config = json.loads((run.output / "checkpoint/config.json").read_text(encoding="utf-8"))
    checks.that(config["quantization_config"]["quant_method"] == "gptq", "config.json names GPTQ")
    page = (run.output / "report.html").read_text(encoding="utf-8")
    checks.that("Does quantization hurt Korean" in page and page.rstrip().endswith("</html>"), "report.html is a page")
    for words in ("size", "perplexity, English", "perplexity, Korean", "KL mean", "quantize"):
        checks.that(words in outcome.out, f"the summary says {words!r}", outcome)
    return True


def check_report(run, checks):
    report = run.report()
    checks.that([stage["name"] for stage in report["stages"]] == STAGES, "report.json has the five stages")
    for language in ("en", "ko"):
        figures = report["validate"]["languages"][language]
        original, quantized = figures["perplexity_original"], figures["perplexity_quantized"]
        checks.that(1 < original < quantized * 2, f"perplexity of {language}: {original}, {quantized}")
        checks.that(0 < figures["kl_mean"] < 1, f"KL of {language} is {figures['kl_mean']}")
    quantize = report["quantize"]
    real = sum(path.stat().st_size for path in (run.output / "checkpoint").glob("*.safetensors"))
    forecast = quantize["forecast_bytes"]
    checks.that(abs(forecast - real) <= 0.01 * real, f"forecast {forecast}, real {real}")
    memory, peak = quantize["memory_forecast_bytes"], quantize["peak_rss_bytes"]
    checks.that(abs(memory - peak) <= 0.15 * peak, f"peak memory {peak}, forecast {memory}")
    checks.that(quantize["bytes"] < quantize["original_bytes"], "the result is smaller")
    checks.that(quantize["fallbacks"] == [], "nothing fell back to rounding")


def check_digest(run, checks):
    """The digest of the token ids (what it is of: tests/unit/text/dataset_test.cc) stands in both reports."""
    stored = next(iter(run.work.glob("artifacts/*/tokens.json")))
    told = json.loads(stored.read_text(encoding="utf-8"))["digest"]
    reported = run.report()["calibration"]["tokens_digest"]
    checks.that(len(told) == 64 and reported == told, f"report.json has the digest of the tokens: {reported}, {told}")
    page = (run.output / "report.html").read_text(encoding="utf-8")
    checks.that(told in page, "report.html has the digest of the tokens")


def cached_stages(run):
    return [stage["name"] for stage in run.report()["stages"] if stage["cached"]]


def check_cache(run, checks):
    before = run.digests()
    outcome = run.run()
    checks.that(outcome.status == 0, "the second run succeeds", outcome)
    checks.that(cached_stages(run) == STAGES, "the second run makes nothing", outcome)
    checks.that(run.digests() == before, "the checkpoint is the same")
    outcome = run.run({"bits": 8})
    cached = cached_stages(run)
    kept = cached == ["analyze", "calibrate"]
    checks.that(outcome.status == 0 and kept, f"bits=8 keeps what it may: {cached}", outcome)
    outcome = run.run()
    checks.that(run.digests() == before and cached_stages(run) == STAGES, "back to 4 bits: stored", outcome)


def check_damage(run, checks):
    """A stored file that lost its end, or in which a bit has changed, is not taken for a result."""
    before = run.digests()
    stages = json.loads(run.call("get", "-o", "json", "--workdir", str(run.work)).out)["stages"]
    artifact = next(stage["artifact"] for stage in stages if stage["uses"] == "quantize")
    shard = sorted(run.work.glob(f"artifacts/{artifact.rsplit('/', 1)[1]}/checkpoint/*.safetensors"))[0]
    content = shard.read_bytes()
    flipped = bytearray(content)
    flipped[len(flipped) // 2] ^= 4
    for damaged in (content[:-100], bytes(flipped)):
        shard.unlink()  # it may share its content with the output folder
        shard.write_bytes(damaged)
        outcome = run.run()
        checks.that(outcome.status == 0 and run.digests() == before, "a damaged result is made again", outcome)


def check_views(run, checks):
    for command in (["list"], ["get"], ["logs"], ["explain"]):
        outcome = run.call(*command, "--workdir", str(run.work))
        checks.that(outcome.status == 0 and outcome.out.strip(), f"gridquant {command[0]} works afterwards", outcome)


def main():
    binaries, folder = sys.argv[1:3]
    checks = Checks()
    run = Gridquant(binaries, fresh(folder))
    if check_first_run(run, checks):
        check_report(run, checks)
        check_digest(run, checks)
        check_views(run, checks)
        check_cache(run, checks)
        check_damage(run, checks)
        one_thread = Gridquant(binaries, fresh(folder + "-one"))
        outcome = one_thread.run(extra=["--threads", "1"])
        run.run()
        same = one_thread.digests() == run.digests()
        checks.that(outcome.status == 0 and same, "one thread gives the same bytes", outcome)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
