"""Rules that look at one file, or at the list of files."""

import os
import re

from source import Finding

FILE_LINES = 500
LINE_LENGTH = 120
README_LINES = 120  # a page, with room for a table

MAIN = re.compile(r"(^|/)(\w+_)?main\.cc$")


def is_main(source):
    return bool(MAIN.search(source.path))


def in_any(source, *folders):
    return any(source.path.startswith(folder + "/") for folder in folders)


def check_lengths(sources):
    for source in sources:
        if source.path.endswith("README.md") and len(source.lines) > README_LINES:
            yield Finding("length", source.path, README_LINES, f"{len(source.lines)} lines: a README is at most a page")
        if not source.is_code:
            continue
        if len(source.lines) > FILE_LINES:
            yield Finding("length", source.path, FILE_LINES, f"{len(source.lines)} lines, more than {FILE_LINES}")
        for number, line in enumerate(source.lines, 1):
            if len(line) > LINE_LENGTH:
                yield Finding("length", source.path, number, f"{len(line)} characters, more than {LINE_LENGTH}")


def ban(pattern, message, allowed=lambda source: False):
    return re.compile(pattern), message, allowed


# In C++ with comments and literals blanked out.
BANS = (
    ban(r"\b(secure_)?getenv\s*\(|\bsetenv\s*\(|\bputenv\s*\(", "the environment is read in main only",
        lambda s: is_main(s) or in_any(s, "tests", "bench")),
    ban(r"(?<!\w)(v?f?printf|puts|putchar)\s*\(|\bstd::(cout|cerr|clog)\b",
        "prints: only mains, cli, tests and bench do", lambda s: is_main(s) or in_any(s, "cli", "tests", "bench")),
    ban(r"#\s*include\s*<regex>|\bstd::(basic_)?regex\b", "<regex> is slow and overflows the stack: use PCRE2"),
    ban(r"(?<![\w.>])(s?rand|rand_r|drand48)\s*\(|\bstd::(random_device|mt19937(_64)?|default_random_engine)\b",
        "random numbers come from a seeded generator of ours, the same on every machine",
        lambda s: in_any(s, "tests", "bench")),
    ban(r"(?<![\w.>])(system|popen)\s*\(", "no shell: processes are started by node/launch",
        lambda s: in_any(s, "tests", "bench")),
    ban(r"\bthread_local\b", "thread_local hides state: pass it"),
    ban(r"(?<!\w)throw\b(?!\s*\(\s*\))", "errors are Status, not exceptions",
        # yaml-cpp's event parser can be stopped in no other way; caught in the same file.
        lambda s: in_any(s, "tests") or s.path == "coordinator/spec/yaml_reader.cc"),
    ban(r"\busing\s+namespace\b(?!\s+std::\w*literals)", "no using namespace", is_main),
    ban(r"(?:(?<![\w.>:])|(?<=std::))(exit|abort|_exit|quick_exit)\s*\(", "only a main ends the process",
        lambda s: is_main(s) or in_any(s, "tests", "bench", "node/launch")),
    # The macro's left side is followed by "= value": of a ? b : c that would assign to c alone.
    ban(r"\bGQ_ASSIGN_OR_RETURN\(\s*(?:[^,()?]|\([^()]*\))*\?", "a left side with ?: assigns to one branch alone"),
    ban(r"(?<!\w)new\s+\w|(?<![\w=] )(?<!=)\bdelete\s+\w", "ownership is a unique_ptr or a value",
        # The log is never destroyed.
        lambda s: in_any(s, "tests", "bench") or s.path == "engine/base/log.cc"),
)
# In every text file, comments included.
WORDS = (
    (re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"), "unfinished work is an issue, not a comment"),
    (re.compile(r"(?<![\w.$})/-])/(work|root)/(?!\s)"), "a path of one machine"),
)
FLAGS = re.compile(r"-march=native|-mtune=native|-ffast-math|-Ofast|-funsafe-math")


def check_bans(sources):
    for source in sources:
        if source.path.startswith("tests/tidy/"):
            continue
        if source.is_cpp:
            for pattern, message, allowed in BANS:
                if allowed(source):
                    continue
                for line, match in source.find(pattern):
                    if owned_new(source, line):
                        continue
                    yield Finding("banned", source.path, line, f"{match.group().strip()!r}: {message}")
        if source.is_code or source.suffix in {".md", ".yaml", ".yml", ".json"}:
            for pattern, message in WORDS:
                for line, match in source.find(pattern, bare=False):
                    yield Finding("banned", source.path, line, f"{match.group()!r}: {message}")
        if source.path.endswith((".cmake", "CMakeLists.txt", "CMakePresets.json")):
            for number, line in enumerate(source.lines, 1):
                match = FLAGS.search(line.split("#")[0])
                if match:
                    yield Finding("banned", source.path, number, f"{match.group()}: builds are portable and exact")


def owned_new(source, line):
    """The way round a private constructor, unique_ptr<T>(new T); and a static that is never destroyed, *new T."""
    return re.search(r"(unique_ptr|shared_ptr)\b.*\bnew\b|\*new\b|static .*\bnew\b",
                     " ".join(source.lines[max(0, line - 2):line])) is not None


def check_heads(sources):
    """A header says what it is for, and is guarded; so does a .cc that has no header of its name."""
    paths = {source.path for source in sources}
    for source in sources:
        if source.suffix == ".h":
            if not source.text.startswith("//"):
                yield Finding("head", source.path, 1, "a header begins with a comment: what it is for, what it is not")
            if "#pragma once" not in source.text and not source.path.endswith("-inl.h"):
                yield Finding("head", source.path, 1, "no #pragma once")
        elif source.suffix == ".cc" and source.path[:-3] + ".h" not in paths:
            if not source.text.startswith("//"):
                yield Finding("head", source.path, 1, "begins with no comment, and no header of its name does")


def check_listed(sources):
    """Every .cc is named in the CMakeLists.txt of its folder or of the nearest folder above that has one."""
    lists = {source.folder: source.text for source in sources if source.path.endswith("CMakeLists.txt")}
    for source in sources:
        if source.suffix not in {".cc", ".cu"}:
            continue
        folder = source.folder
        while folder not in lists and folder:
            folder = os.path.dirname(folder)
        name = os.path.relpath(source.path, folder or ".").replace(os.sep, "/")
        named = r"(?<![\w/.-])" + re.escape(name) + r"(?![\w.])"
        if folder not in lists or not re.search(named, lists[folder]):
            yield Finding("unlisted", source.path, 1, f"not named in {os.path.join(folder, 'CMakeLists.txt')}")


OP = re.compile(r"^GRIDQUANT_OP\((\w+)\)", re.MULTILINE)


def check_ops(sources):
    """Every op of the list has a contract, a CPU file and a row in the conformance suite."""
    by_path = {source.path: source for source in sources}
    listed = by_path.get("engine/ops/ops_list.inc")
    if listed is None:
        return
    suite = "\n".join(s.text for s in sources if s.path.startswith("tests/conformance/ops/"))
    for line, match in listed.find(OP):
        name = match.group(1)
        for path in (f"engine/ops/{name}.h", f"engine/ops/{name}_cpu.cc"):
            if path not in by_path:
                yield Finding("ops", listed.path, line, f"op {name} has no {path}")
        if not re.search(r'"' + name + r'"|\bOp' + "".join(p.capitalize() for p in name.split("_")) + r"\b", suite):
            yield Finding("ops", listed.path, line, f"op {name} has no row in the conformance suite")
