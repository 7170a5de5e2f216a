"""Bad input through the command line: the right exit status, the message once and clear, and what an earlier run left
stays as it was. One row per fault; the rows that need a disk of their own are skipped where mounting is not allowed."""

import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

from harness import DATA, Checks, Gridquant, Outcome, Safetensors, children, copy_model, fresh

FAILED, USAGE = 1, 2


def edit_json(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def weights(model):
    return Safetensors(model / "model.safetensors")


def truncated(model):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def huge_header(model):
    path = model / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])


def empty_file(model):
    (model / "model.safetensors").write_bytes(b"")


def beyond_the_end(model):
    file = weights(model)
    file.header[file.names()[-1]]["data_offsets"][1] += 1 << 40
    file.write()


def two_overlap(model):
    file = weights(model)
    names = sorted(file.names(), key=file.begin)
    length = file.header[names[1]]["data_offsets"][1] - file.begin(names[1])
    file.header[names[1]]["data_offsets"] = [file.begin(names[0]), file.begin(names[0]) + length]
    file.write()


def lying_shape(model):
    file = weights(model)
    file.header["model.norm.weight"]["shape"] = [1 << 40]
    file.write()


def missing_tensor(model):
    file = weights(model)
    file.header["model.layers.0.mlp.up_proj.weight_"] = file.header.pop("model.layers.0.mlp.up_proj.weight")
    file.write()


def misshapen_tensor(model):
    file = weights(model)
    entry = file.header["model.layers.1.mlp.up_proj.weight"]
    entry["shape"] = entry["shape"][::-1]
    file.write()


def put_bf16(model, bits):
    file = weights(model)
    begin = file.begin("model.layers.1.mlp.down_proj.weight")
    file.data[begin + 200:begin + 202] = struct.pack("<H", bits)
    file.write()


def other_architecture(model):
    edit_json(model / "config.json", lambda c: c.update(architectures=["MambaForCausalLM"], model_type="mamba"))


def no_config(model):
    (model / "config.json").unlink()


def config_without_layers(model):
    edit_json(model / "config.json", lambda c: c.pop("num_hidden_layers"))


def broken_tokenizer(model):
    (model / "tokenizer.json").write_text('{"model": ', encoding="utf-8")


# Name, what is done to the model, words that the message must have.
MODEL_FAULTS = [
    ("truncated safetensors", truncated, ["model.safetensors"]),
    ("header length that lies", huge_header, ["model.safetensors", "header"]),
    ("empty safetensors", empty_file, ["model.safetensors"]),
    ("offsets beyond the end", beyond_the_end, ["model.safetensors"]),
    ("overlapping tensors", two_overlap, ["model.safetensors"]),
    ("shape that lies", lying_shape, ["model.norm.weight"]),
    ("missing tensor", missing_tensor, ["model.layers.0.mlp.up_proj.weight"]),
    ("misshapen tensor", misshapen_tensor, ["model.layers.1.mlp.up_proj.weight"]),
    ("NaN in weights", lambda model: put_bf16(model, 0x7FC0), ["model.layers.1.mlp.down_proj.weight", "nan"]),
    ("infinity in weights", lambda model: put_bf16(model, 0xFF80), ["model.layers.1.mlp.down_proj.weight", "inf"]),
    ("unsupported architecture", other_architecture, ["MambaForCausalLM", "LlamaForCausalLM"]),
    ("no config.json", no_config, ["config.json"]),
    ("config.json without a field", config_without_layers, ["num_hidden_layers"]),
    ("broken tokenizer.json", broken_tokenizer, ["tokenizer.json"]),
]


class BadInput:
    def __init__(self, binaries, folder):
        self.binaries, self.folder = binaries, fresh(folder)
        self.checks = Checks()
        self.good = Gridquant(binaries, self.folder / "good")
        outcome = self.good.run()
        self.ready = self.checks.that(outcome.status == 0, "the run on good input succeeds", outcome)
        self.before = self.good.digests()

    def expect(self, name, outcome, status, words, output=None):
        """Status, every word in one and the same line, no crash, and the good run's checkpoint untouched."""
        lines = [line for line in outcome.text.splitlines() if all(word.lower() in line.lower() for word in words)]
        self.checks.that(outcome.status == status, f"{name}: exit status {outcome.status}, not {status}", outcome)
        self.checks.that(lines, f"{name}: no line says {words}", outcome)
        self.checks.that(len(set(lines)) == len(lines), f"{name}: the message comes {len(lines)} times", outcome)
        for crash in ("terminate called", "Segmentation", "internal error", "what():"):
            self.checks.that(crash not in outcome.text, f"{name}: it crashed", outcome)
        self.checks.that(self.good.digests() == self.before, f"{name}: the earlier checkpoint is untouched")
        self.checks.that(output is None or not (output / "checkpoint").exists(), f"{name}: no checkpoint was made")

    def model_faults(self):
        for name, damage, words in MODEL_FAULTS:
            model = copy_model(self.good.model, self.folder / "model")
            run = Gridquant(self.binaries, fresh(self.folder / "bad"), model)
            damage(run.model)
            self.expect(name, run.run(), FAILED, words, run.output)
        # Nothing is lost: the same work folder goes on once the input is right.
        run.model = self.good.model
        outcome = run.run()
        self.checks.that(outcome.status == 0 and run.digests() == self.before, "the mended input runs through", outcome)

    def text_faults(self):
        data = fresh(self.folder / "data")
        run = Gridquant(self.binaries, fresh(self.folder / "texts"))
        for path in DATA.glob("*.txt"):
            shutil.copyfile(path, data / path.name)
        (data / "calibration.ko.txt").write_bytes("첫째 줄\n둘째 ".encode() + b"\xed\xa0\x80\n")
        words = ["calibration.ko.txt", "UTF-8", "line 2"]
        self.expect("non-UTF-8 text", run.run({"data": data}), FAILED, words, run.output)
        (data / "calibration.ko.txt").write_text("짧은 글.\n", encoding="utf-8")
        self.expect("too little text", run.run({"data": data}), FAILED, ["calibration.ko.txt", "token"], run.output)
        (data / "calibration.ko.txt").unlink()
        outcome = run.run({"data": data})
        self.checks.that(outcome.status in (FAILED, USAGE), "missing text: exit status", outcome)
        self.checks.that("calibration.ko.txt" in outcome.text, "missing text: the message names it", outcome)

    def command_faults(self):
        run = Gridquant(self.binaries, fresh(self.folder / "command"))
        self.expect("unknown param", run.run({"bitz": 4}), USAGE, ["bitz"], run.output)
        self.expect("value out of range", run.run({"bits": 5}), USAGE, ["bits"], run.output)
        self.expect("value of the wrong type", run.run({"bits": "four"}), USAGE, ["bits"], run.output)
        (run.folder / "file").write_text("in the way", encoding="utf-8")
        run.output = run.folder / "file"
        self.expect("output folder that is a file", run.run(), USAGE, [str(run.output)])
        self.checks.that(run.output.read_text(encoding="utf-8") == "in the way", "the file in the way is untouched")
        run.output = Path("/proc/gridquant-out")
        self.expect("output folder that cannot be made", run.run(), USAGE, [str(run.output)])
        run.output = run.folder / "out"
        run.work = run.folder / "file"
        self.expect("work folder that is a file", run.run(), USAGE, [str(run.work)], run.output)

    def other_version(self):
        run = Gridquant(self.binaries, self.folder / "good")
        state = run.work / "state.db"
        kept = state.read_bytes()
        with sqlite3.connect(state) as database:
            database.execute("PRAGMA user_version = 9999")
        database.close()
        self.expect("work folder of another version", run.run(), USAGE, ["9999"])
        state.write_bytes(kept)
        outcome = run.run()
        self.checks.that(outcome.status == 0, "the work folder as it was works again", outcome)

    def group_size(self):
        """No group of 64 divides a width of 96."""
        model = copy_model(self.good.model, self.folder / "odd")
        change_width(model, 96)
        run = Gridquant(self.binaries, fresh(self.folder / "odd-run"), model)
        self.expect("group size that does not divide", run.run(), FAILED, ["96", "64"], run.output)

    def disk_full(self):
        """A disk that is too small is refused by plan; one that fills up meanwhile ends quantize. Both go on later."""
        mount = fresh(self.folder / "small-disk")
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)], capture_output=True)
        if mounted.returncode != 0:
            print("skipped: disk full (mounting a small tmpfs is not allowed here)")
            return
        try:
            run = Gridquant(self.binaries, fresh(self.folder / "full"))
            run.work = mount / "work"
            self.expect("disk too small", run.run(), FAILED, ["plan", "bytes", "free"], run.output)
            resize(mount, 200 << 20)
            outcome = run.run()
            self.checks.that(outcome.status == 0 and run.digests() == self.before, "with space it goes on", outcome)
            self.fill_up(run, mount)
        finally:
            subprocess.run(["umount", str(mount)], check=False)

    def fill_up(self, run, mount):
        """The disk becomes full while quantize writes its blocks. Its worker is stopped for as long as that takes."""
        for _ in range(5):  # on a fast machine the worker may be through before it can be stopped
            for artifact in list(run.work.glob("artifacts/quantize-*")) + [run.output]:
                shutil.rmtree(artifact, ignore_errors=True)
            outcome, filled = self.run_and_fill(run, mount)
            if filled:
                break
            resize(mount, 200 << 20)
        self.checks.that(filled, "the disk was filled up in time", outcome)
        self.checks.that(outcome.status == FAILED and "no space" in outcome.text.lower(), "disk that fills up", outcome)
        self.checks.that(not (run.output / "checkpoint").exists(), "disk that fills up: no checkpoint was made")
        resize(mount, 200 << 20)
        outcome = run.run()
        self.checks.that(outcome.status == 0 and run.digests() == self.before, "with space again it goes on", outcome)

    def run_and_fill(self, run, mount):
        """(outcome, whether the disk was full before the last block was there)"""
        process = subprocess.Popen(run.command(extra=["-o", "json"]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, cwd=run.folder)
        lines, filled = [], False
        for line in process.stdout:
            lines.append(line)
            event = json.loads(line)
            if filled or event["event"] != "progress" or event["stage"] != "quantize":
                continue
            workers = children(process.pid)
            for worker in workers:
                os.kill(worker, signal.SIGSTOP)
            shards = len(list(run.work.glob("artifacts/quantize-*/checkpoint/*.safetensors")))
            if workers and shards < event["total"] // 2:
                filled = resize(mount, shutil.disk_usage(mount).used + (64 << 10))
            for worker in workers:
                os.kill(worker, signal.SIGCONT)
        process.wait()
        return Outcome(subprocess.CompletedProcess([], process.returncode, "".join(lines), "")), filled

    def play(self):
        if self.ready:
            for part in (self.model_faults, self.text_faults, self.command_faults, self.group_size, self.disk_full,
                         self.other_version):
                part()
        return self.checks.finish()


def resize(mount, size):
    """False while more than `size` is in use."""
    done = subprocess.run(["mount", "-o", f"remount,size={size}", str(mount)], capture_output=True)
    return done.returncode == 0


# The ends of names of tensors whose second, or first, dimension is the hidden size.
READ_HIDDEN = tuple(f"{name}.weight" for name in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "embed_tokens",
                                                  "lm_head"))
WRITE_HIDDEN = tuple(f"{name}.weight" for name in ("o_proj", "down_proj", "norm", "layernorm"))


def change_width(model, width):
    """Cuts every tensor's hidden dimension down to `width`: a model of the same architecture with an odd size."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    old, heads = config["hidden_size"], config["num_attention_heads"]
    head_dim = config.get("head_dim") or old // heads
    config.update(hidden_size=width, head_dim=head_dim)
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    file = weights(model)
    data, at = bytearray(), 0
    for name in sorted(file.names(), key=file.begin):
        shape = file.header[name]["shape"]
        is_input, is_output = name.endswith(READ_HIDDEN), name.endswith(WRITE_HIDDEN)
        new = [width if is_output and i == 0 or is_input and i == 1 else n for i, n in enumerate(shape)]
        count = 2
        for n in new:
            count *= n
        data += file.data[file.begin(name):file.begin(name) + count]
        file.header[name].update(shape=new, data_offsets=[at, at + count])
        at += count
    file.data = data
    file.write()


def main():
    return BadInput(sys.argv[1], Path(sys.argv[2])).play()


if __name__ == "__main__":
    sys.exit(main())
