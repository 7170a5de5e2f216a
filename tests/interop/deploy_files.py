"""The rest of deploy/: the Containerfile (hadolint; what it names exists; its packages hold every library that the two
programs load), the systemd units (systemd-analyze verify; hardening; the way gangs are ended), the Slurm scripts, and
the options that all of these give to gridquant: each is one that the program knows. Faults are planted, and each must
be found. What a machine has no tool for is said to be skipped.

usage: deploy_files.py BIN_FOLDER SOURCE_TREE
"""

import functools
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

TREE = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else pathlib.Path(".")
BIN = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else pathlib.Path(".")
ALWAYS_THERE = {"libc6", "libgcc-s1", "libstdc++6"}  # needed by Debian's own base or by every other library
HARDENING = ("NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes",
             "RestrictNamespaces=yes", "RestrictSUIDSGID=yes", "LockPersonality=yes", "CapabilityBoundingSet=",
             "SystemCallFilter=@system-service",
             "ProtectKernelModules=yes", "ProtectControlGroups=yes", "UMask=0027", "User=gridquant")
GANGS = ("KillMode=mixed", "TimeoutStopSec=", "OOMPolicy=continue", "Restart=on-failure")


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120,
                          **options)


def skipped(what):
    print(f"SKIPPED: {what}")
    return []


# -- Containerfile ---------------------------------------------------------------------------------------------------

def stages_of(text):
    """Stage name -> its instructions, lines joined, comments out."""
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    instructions = re.sub(r"\\\n", " ", "\n".join(lines)).split("\n")
    stages, current = {}, None
    for instruction in filter(None, map(str.strip, instructions)):
        start = re.match(r"FROM (\S+) AS (\w+)$", instruction)
        if start:
            current = start.group(2)
            stages[current] = [instruction]
        elif current:
            stages[current].append(instruction)
    return stages


def packages_in(instructions):
    for instruction in instructions:
        for words in re.findall(r"apt-get install -y --no-install-recommends ([^&]*)", instruction):
            yield from words.split()


@functools.lru_cache(maxsize=None)
def library_packages(program):
    """The Debian packages that hold what the program loads."""
    names = set()
    for path in re.findall(r"=> (/\S+)", run("ldd", program).stdout):
        found = run("dpkg", "-S", pathlib.Path(path).resolve())
        found = found if found.returncode == 0 else run("dpkg", "-S", path)
        names.add(found.stdout.split(":")[0] if found.returncode == 0 else f"? {path}")
    return names


def check_container(text, linter=True):
    stages = stages_of(text)
    runtime = stages.get("runtime", [])
    named = set(packages_in(runtime))
    for stage in ("runtime", "mpi"):
        users = [i for i in stages.get(stage, []) if i.startswith("USER ")]
        if not users or not re.match(r"USER [1-9]\d*:[1-9]\d*$", users[-1]):
            yield f"{stage}: the last USER is not a number above 0"
    for label in ("title", "description", "version", "revision"):
        if f"org.opencontainers.image.{label}=" not in " ".join(runtime):
            yield f"no label org.opencontainers.image.{label}"
    for instruction in [i for all_of in stages.values() for i in all_of if i.startswith("COPY ")]:
        words = instruction.split()[1:]
        for source in [word for word in words[:-1] if not word.startswith("--")]:
            made = "--from=build" in instruction
            if made and not (BIN / pathlib.Path(source).name).is_file():
                yield f"{source}: no such program is built"
            if not made and not (TREE / source).exists():
                yield f"{source}: not in the tree"
    loaded = library_packages(BIN / "gridquant") | library_packages(BIN / "gridquant-worker")
    for package in sorted(loaded - with_dependencies(named) - ALWAYS_THERE):
        yield f"the programs load {package}, which the image does not install"
    for package in sorted(named | set(packages_in(stages.get("mpi", [])))):
        if not known_to_debian(package):
            yield f"Debian has no package {package}"
    if linter and shutil.which("hadolint", path=str(pathlib.Path(sys.executable).parent)):
        with tempfile.NamedTemporaryFile("w", suffix=".Containerfile") as file:
            file.write(text)
            file.flush()
            found = run(pathlib.Path(sys.executable).parent / "hadolint", file.name)
        if found.returncode != 0:
            yield f"hadolint: {found.stdout.strip()}"


@functools.lru_cache(maxsize=None)
def known_to_debian(package):
    return run("apt-cache", "show", package).returncode == 0


@functools.lru_cache(maxsize=None)
def installed_dependencies():
    """Package -> names that it depends on, of everything that is installed here."""
    listed = run("dpkg-query", "-W", "-f", "${Package}\t${Pre-Depends}, ${Depends}\n").stdout
    return {name: set(re.findall(r"(?:^|, |\| )([a-z0-9][a-z0-9.+-]+)", depends))
            for name, depends in (line.split("\t", 1) for line in listed.splitlines())}


def with_dependencies(packages):
    reached, waiting = set(), list(packages)
    while waiting:
        package = waiting.pop()
        if package not in reached:
            reached.add(package)
            waiting += installed_dependencies().get(package, ())
    return reached


CONTAINER_FAULTS = {
    "root": lambda t: t.replace("USER 10001:10001", "USER 0:0"),
    "library missing": lambda t: t.replace("      libdnnl2 \\\n", ""),
    "package unknown": lambda t: t.replace("libdnnl2", "libdnnl2 libdnnl-of-nobody"),
    "file missing": lambda t: t.replace("COPY deploy/slurm/gridquant-gang", "COPY deploy/slurm/gone"),
    "program missing": lambda t: t.replace("release/bin/gridquant-worker", "release/bin/gridquant-gone"),
    "label missing": lambda t: t.replace("org.opencontainers.image.title", "title"),
    "lint": lambda t: t.replace("WORKDIR /source", "WORKDIR source"),
}


# -- systemd ---------------------------------------------------------------------------------------------------------

def check_units(units):
    for name, text in units.items():
        lines = text.split("\n")
        wanted = HARDENING + (GANGS if "node" in name else ())
        for setting in wanted:
            if not any(line.startswith(setting) for line in lines):
                yield f"{name}: no {setting}"
    if not shutil.which("systemd-analyze"):
        yield from skipped("no systemd-analyze here: the units are not verified")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, text in units.items():
            path = pathlib.Path(folder) / name
            path.write_text(text.replace("/usr/bin/gridquant", str(BIN / "gridquant")), encoding="utf-8")
            found = run("systemd-analyze", "verify", "--man=no", path)
            if found.returncode != 0 or name in found.stderr:
                yield f"{name}: {found.stderr.strip()}"


UNIT_FAULTS = {
    "unknown setting": lambda t: t.replace("KillMode=", "KilMode=").replace("StateDirectory=", "StateDir="),
    "not hardened": lambda t: t.replace("NoNewPrivileges=yes\n", ""),
    "bad value": lambda t: t.replace("ProtectSystem=strict", "ProtectSystem=strictly"),
    "program missing": lambda t: t.replace("/usr/bin/gridquant ", "/usr/bin/gridquant-of-nobody "),
}


# -- options of gridquant --------------------------------------------------------------------------------------------

def known_options(verb):
    done = run(BIN / "gridquant", *verb.split(), "--help")
    if f"Usage: gridquant {verb} " not in done.stdout:
        return None
    return set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", done.stdout))


def calls_in_deploy():
    """(where, verb, options) of every call of gridquant in deploy/."""
    for path in sorted((TREE / "deploy").rglob("*")):
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".yaml":
            for arguments in argument_lists(list(yaml.safe_load_all(text))):
                yield path, arguments[0], [word.split("=")[0] for word in arguments[1:] if word.startswith("-")]
        elif path.suffix in {".service", ".sh"} or path.name == "gridquant-gang":
            code = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
            code = re.sub(r"<<'(\w+)'\n.*?\n\1\n", "\n", code, flags=re.DOTALL)
            code = code.replace("\\\n", " ").replace("$tls", "--tls-cert= --tls-key= --tls-ca=")
            for call in re.findall(r"(?:^|[\s/}])gridquant\"? ((?:render )?[a-z]+)([^\n;|&]*)", code):
                yield path, call[0], re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", call[1])


def argument_lists(value):
    """`args` of containers whose program is gridquant itself."""
    if isinstance(value, dict):
        if isinstance(value.get("args"), list) and "command" not in value and value["args"]:
            yield value["args"]
        for inner in value.values():
            yield from argument_lists(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from argument_lists(inner)


def check_options(calls):
    help_of = {}
    for path, verb, options in calls:
        where = f"{path.relative_to(TREE)}: gridquant {verb}"
        if verb not in help_of:
            help_of[verb] = known_options(verb)
        if help_of[verb] is None:
            yield f"{where}: there is no such command"
            continue
        for option in options:
            if option not in help_of[verb]:
                yield f"{where}: there is no option {option}"


def check_scripts():
    for path in (TREE / "deploy").rglob("*"):
        if path.is_file() and path.read_bytes()[:2] == b"#!":
            shell = "bash" if b"bash" in path.read_bytes()[:20] else "sh"
            found = run(shell, "-n", path)
            if found.returncode != 0:
                yield f"{path.relative_to(TREE)}: {found.stderr}"


def main():
    container = (TREE / "deploy/Containerfile").read_text(encoding="utf-8")
    paths = sorted((TREE / "deploy/systemd").glob("*.service"))
    units = {path.name: path.read_text(encoding="utf-8") for path in paths}
    calls = list(calls_in_deploy())
    errors = [*check_container(container), *check_units(units), *check_options(calls), *check_scripts()]
    for name, change in CONTAINER_FAULTS.items():
        if not list(check_container(change(container))):
            errors.append(f"planted fault not found: Containerfile: {name}")
    for name, change in UNIT_FAULTS.items():
        if not list(check_units({unit: change(text) for unit, text in units.items()})):
            errors.append(f"planted fault not found: units: {name}")
    if not list(check_options([(TREE / "x", "run", ["--no-such-option"]), ])):
        errors.append("planted fault not found: options")
    for error in errors:
        print("FAIL", error)
    print(f"Containerfile, {len(units)} units, {len(calls)} calls of gridquant, {len(errors)} failures")
    return 1 if errors or not units or not calls else 0


if __name__ == "__main__":
    sys.exit(main())
