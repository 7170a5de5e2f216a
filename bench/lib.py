"""What the bench.py of every benchmark shares: running and measuring commands, and the results file."""

import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, "build/release/bin")


def say(message):
    print(f"== {message}", file=sys.stderr, flush=True)


def cpu_flags():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return set(re.search(r"^flags\s*:(.*)$", file.read(), re.MULTILINE).group(1).split())


def held_to():
    """The lesser processor that our own programs are held to (engine/device/cpu.h), or ""."""
    return os.environ.get("GRIDQUANT_MAX_CPU", "")


def llama_tool(name):
    """llama.cpp for this machine's own CPU, or for AVX2 (scripts/lib/setup.sh gq_llama_cpp)."""
    return os.path.join(ROOT, ".venv", "llama-avx2" if held_to() == "avx2" else "llama", "bin", name)


def peer_environment():
    """torch and its libraries held to the same lesser processor."""
    environment = dict(os.environ)
    if held_to() == "avx2":
        environment.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_ENABLE_INSTRUCTIONS="AVX2",
                           OPENBLAS_CORETYPE="Haswell")
    elif held_to():
        sys.exit("error: no peer can be held to " + held_to())
    return environment


def has_fast_bf16():
    return held_to() in ("", "avx512_bf16") and bool(cpu_flags() & {"amx_bf16", "avx512_bf16"})


def cores():
    return len(os.sched_getaffinity(0))


def calibration_text():
    shared = os.environ.get("GRIDQUANT_TEST_DATA", os.path.join(ROOT, "../shared/data"))
    wiki = os.path.join(shared, "texts/wikitext-2-raw/wiki.test.raw")
    if os.path.exists(wiki):
        return os.path.abspath(wiki)
    say("wikitext-2 is not there (GRIDQUANT_TEST_DATA): the calibration text is models/data/calibration.en.txt")
    return os.path.join(ROOT, "models/data/calibration.en.txt")


def run_measured(command, log, environment=None):
    """(seconds, peak bytes) of a command and the processes that it waited for. Ends this program if it fails."""
    with open(log, "w", encoding="utf-8") as file:
        start = time.perf_counter()
        # Beside its log: GPTQModel leaves files where it is started.
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=os.path.dirname(log),
                                   env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"error: {command[0]} ended with status {process.returncode}; {log}:\n" + read(log)[-3000:])
    return seconds, usage.ru_maxrss * 1024


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def peer_facts(log):
    """What a script of bench/peers said last."""
    return json.loads(re.findall(r"^PEER (.*)$", read(log), re.MULTILINE)[-1])


def environment():
    """Where and with what a result was measured."""
    version = subprocess.run([os.path.join(BIN, "gridquant"), "version"], capture_output=True, text=True, check=True)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    packages = {}
    for line in subprocess.run([sys.executable, "-c", "import importlib.metadata as m\n"
                                "for d in m.distributions(): print(d.name, d.version)"],
                               capture_output=True, text=True, check=True).stdout.splitlines():
        name, number = line.split()
        if name.lower() in ("torch", "transformers", "gptqmodel", "llmcompressor"):
            packages[name] = number
    pins = re.findall(r"^(llama-cpp-python)==(.*)$", read(os.path.join(ROOT, "tests/interop/requirements-llama.txt")),
                      re.MULTILINE)
    packages.update({name: number for name, number in pins})
    return {"date": datetime.date.today().isoformat(), "cpu": version.stdout.splitlines()[1], "held_to": held_to(),
            "cores": cores(), "system": platform.platform(), "gridquant": version.stdout.splitlines()[0],
            "commit": commit.stdout.strip(), "packages": packages}


def finish(results, lines, path):
    """Writes the results file and prints the RESULT lines: (metric, value, unit) each."""
    results["lines"] = {metric: value for metric, value, _ in lines}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(results, indent=1).replace(ROOT + os.sep, "") + "\n")  # no folder of this machine
    for metric, value, unit in lines:
        print(f"RESULT {metric} {value:.4g} {unit}")


def results_path(name):
    """One file for each benchmark and kind of processor."""
    return os.path.join(ROOT, f"bench/results/{name}{'-' + held_to() if held_to() else ''}.json")
