"""What the end-to-end tests share: the real binaries on the small model, in a folder of their own.

Standard library only. Every test is called as TEST.py BIN_FOLDER WORK_FOLDER [options]; exit status 77 (ctest:
skipped) where there is no model.
"""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "models" / "data"
PIPELINE = Path(__file__).resolve().parent / "quick.yaml"
TIMEOUT_S = 240


def model_folder():
    """The small model; GRIDQUANT_E2E_MODEL names another one."""
    folder = Path(os.environ.get("GRIDQUANT_E2E_MODEL", ROOT / "models" / "small"))
    if not (folder / "config.json").exists():
        print(f"SKIPPED: there is no model in {folder}")
        sys.exit(77)
    return folder


class Outcome:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def text(self):
        return self.out + self.err

    def __str__(self):
        return f"status {self.status}\n--- out\n{self.out[-3000:]}\n--- err\n{self.err[-3000:]}"


class Gridquant:
    """The binaries with one work folder and one output folder."""

    def __init__(self, binaries, folder, model=None):
        self.binaries, self.folder = Path(binaries).resolve(), Path(folder).resolve()
        self.model = Path(model or model_folder()).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.work, self.output = self.folder / "work", self.folder / "out"
        self.pipeline = PIPELINE

    def command(self, params=None, extra=()):
        values = {"model": self.model, "data": DATA, **(params or {})}
        command = [self.binaries / "gridquant", "run", self.pipeline, "--workdir", self.work, "--output", self.output]
        for key, value in values.items():
            command += ["-p", f"{key}={value}"]
        return [str(part) for part in command] + list(extra)

    def run(self, params=None, extra=()):
        return Outcome(subprocess.run(self.command(params, extra), capture_output=True, text=True, errors="replace",
                                      timeout=TIMEOUT_S, cwd=self.folder))

    def call(self, *arguments):
        command = [str(self.binaries / "gridquant"), *arguments]
        return Outcome(subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=self.folder))

    def report(self):
        return json.loads((self.output / "report.json").read_text(encoding="utf-8"))

    def stage(self, name):
        return next(stage for stage in self.report()["stages"] if stage["name"] == name)

    def digests(self):
        """Of every file of the checkpoint, or None where there is no checkpoint."""
        return digests(self.output / "checkpoint")

    def forget(self):
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.output, ignore_errors=True)


def digests(folder):
    if not folder.exists():
        return None
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)
    return Path(folder)


def until(holds, seconds=60, pause=0.02):
    """What `holds()` returns as soon as it is true; None if it is not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = holds()
        if value:
            return value
        time.sleep(pause)
    return None


def need(program):
    """Ends the test as skipped where `program` is not installed."""
    if shutil.which(program) is None:
        print(f"SKIPPED: there is no {program}")
        sys.exit(77)


def copy_model(source, target):
    """A model folder whose files may be changed one by one."""
    fresh(target)
    for path in Path(source).iterdir():
        if path.is_file():
            shutil.copyfile(path, Path(target) / path.name)
    return Path(target)


def children(pid):
    """Process ids of the workers that a process has started; zombies do not count."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(name))
    return found


class Safetensors:
    """One safetensors file, to be changed and written back; `header` and `data` may be made to lie."""

    def __init__(self, path):
        self.path = Path(path)
        content = self.path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        self.header = json.loads(content[8:8 + length])
        self.data = bytearray(content[8 + length:])

    def names(self):
        return [name for name in self.header if name != "__metadata__"]

    def begin(self, name):
        return self.header[name]["data_offsets"][0]

    def write(self):
        header = json.dumps(self.header).encode()
        header += b" " * (-len(header) % 8)
        self.path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(self.data))


class Checks:
    """Counts what holds; prints what does not."""

    def __init__(self):
        self.passed = self.failed = 0

    def that(self, holds, what, outcome=None):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL {what}" + (f"\n{outcome}" if outcome is not None else ""), flush=True)
        return holds

    def finish(self):
        print(f"{self.passed} checks passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0
