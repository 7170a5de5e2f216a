"""Who may include whom: architecture.md part 3 as two tables. Dependencies point down only."""

import re

from source import INCLUDE, Finding

ENGINE_BELOW_STAGES = ("engine/base", "engine/comm", "engine/tensor", "engine/device", "engine/ops", "engine/quant",
                       "engine/formats", "engine/text", "engine/model", "engine/eval")

# Folder -> what it may include besides itself: a folder (files directly in it) or a single header.
# The longest matching folder counts; a folder that is not here fails.
MAY_INCLUDE = {
    "engine/base": (),
    "engine/comm": ("engine/base",),
    "engine/tensor": ("engine/base",),
    "engine/device": ("engine/base", "engine/tensor"),
    "engine/ops": ("engine/base", "engine/tensor", "engine/device"),
    "engine/quant": ("engine/base", "engine/tensor", "engine/device", "engine/ops"),
    "engine/formats": ("engine/base", "engine/tensor", "engine/quant"),
    "engine/text": ("engine/base",),
    "engine/model": ("engine/base", "engine/tensor", "engine/device", "engine/ops"),
    "engine/eval": ("engine/base", "engine/tensor"),
    "stages/catalog": (),
    "stages": ENGINE_BELOW_STAGES + ("stages/catalog",),
    "coordinator/spec": ("engine/base", "stages/catalog"),
    "coordinator/sched": ("coordinator/spec/pipeline.h", "engine/base/status.h"),
    "coordinator/store": ("engine/base", "stages/catalog", "coordinator/spec/pipeline.h", "coordinator/sched"),
    "coordinator/deliver": ("coordinator/sched", "coordinator/spec/pipeline.h", "engine/base", "engine/eval/report.h",
                            "engine/eval/chart_js.h", "stages/task.h", "stages/warnings.h"),
    "coordinator/control": ("coordinator/spec", "coordinator/sched", "coordinator/store", "coordinator/deliver",
                            "engine/base", "stages/task.h", "stages/warnings.h"),
    "coordinator/rpc": ("coordinator/control", "coordinator/spec", "coordinator/sched", "coordinator/store",
                        "coordinator/auth", "engine/base"),
    "coordinator/auth": ("engine/base",),
    "coordinator/client": ("engine/base", "coordinator/auth"),
    "node/agent": ("engine/base/status.h", "coordinator/sched"),
    "node/launch": ("engine/base", "node/agent"),
    "node/daemon": ("engine/base", "coordinator/sched", "stages/task.h", "stages/warnings.h", "node/agent",
                    "node/launch"),
    "node/rpc": ("engine/base", "coordinator/auth", "coordinator/sched", "node/daemon"),
    "node/worker": ENGINE_BELOW_STAGES + ("stages",),
    "cli": ("coordinator/client", "coordinator/spec", "coordinator/sched", "coordinator/store", "coordinator/deliver",
            "coordinator/control", "coordinator/rpc", "coordinator/auth", "node/agent", "node/launch", "node/daemon",
            "node/rpc", "stages/catalog", "stages/task.h", "stages/warnings.h", "engine/base", "engine/device/cpu.h",
            "engine/eval/report.h"),
}
ROOTS = {"engine", "stages", "coordinator", "node", "cli"}
ANYTHING = ("tests", "bench")  # may include every folder

# Library header -> the folders or files that may include it.
LIBRARIES = (
    (r"^yaml-cpp/", ("coordinator/spec",)),
    (r"^(dnnl|oneapi/dnnl)", ("engine/ops",)),
    (r"^sqlite3", ("coordinator/store",)),
    (r"^pcre2", ("engine/text", "stages/name_match.cc")),
    (r"^utf8proc", ("engine/text",)),
    (r"^spdlog/", ("engine/base/log.cc",)),
    (r"^CLI/", ("cli",)),
    (r"^openssl/", ("engine/base", "node/daemon")),
    (r"^hwy/", ("engine", "tests/unit")),
    (r"^omp\.h", ("engine/device", "engine/ops", "engine/quant")),
    (r"^(grpc|grpcpp|google/protobuf)/", ("coordinator/rpc", "coordinator/auth", "coordinator/client", "node/rpc")),
    (r"^mpi\.h", ("engine/comm/mpi_comm.cc",)),
    (r"^nccl\.h", ("engine/comm/nccl_comm.cc",)),
    (r"^(cuda|cublas|cusolver|cub/)", ("engine/device/cuda",)),
    (r"^(gtest|gmock)/", ("tests",)),
)
# A library that whole folders may use, but only one .cc of them.
ONE_FILE_ONLY = {r"^yaml-cpp/": "coordinator/spec"}

PURE = {"coordinator/sched": "the scheduler", "node/agent": "the agent"}
IMPURE_HEADERS = re.compile(
    r"^(thread|mutex|condition_variable|future|atomic|chrono|ctime|time\.h|fstream|iostream|cstdio|filesystem|stdio\.h"
    r"|unistd\.h|fcntl\.h|poll\.h|signal\.h|csignal|sys/.*|netinet/.*|absl/(synchronization|time)/.*"
    r"|engine/base/(env|clock|log)\.h)$")


def inside(path, places):
    return any(path == place or path.startswith(place + "/") for place in places)


def folder_key(path):
    """The longest folder of MAY_INCLUDE that holds `path`."""
    keys = [key for key in MAY_INCLUDE if path.startswith(key + "/")]
    return max(keys, key=len) if keys else None


def check_ours(source, line, target):
    if inside(source.path, ANYTHING):
        return None
    own = folder_key(source.path)
    if own is None:
        return Finding("layers", source.path, line, "its folder is not in the table of tests/tidy/layers.py")
    theirs = folder_key(target)
    if theirs == own or target in MAY_INCLUDE[own] or theirs in MAY_INCLUDE[own]:
        return None
    return Finding("layers", source.path, line, f"{own} may not include {target}")


def check_libraries(source, line, target):
    for pattern, places in LIBRARIES:
        if re.search(pattern, target) and not inside(source.path, places + ("tests",)):
            cuda_file = source.suffix == ".cu" and "cuda" in pattern
            if not cuda_file:
                yield Finding("layers", source.path, line, f"<{target}> belongs to {', '.join(places)} only")
    pure = folder_key(source.path)
    if pure in PURE and IMPURE_HEADERS.match(target):
        yield Finding("layers", source.path, line, f"{PURE[pure]} is pure: no thread, clock, file or socket ({target})")


def check(sources):
    users = {pattern: set() for pattern in ONE_FILE_ONLY}
    for source in sources:
        if not source.is_cpp:
            continue
        for line, match in source.find(INCLUDE):
            target = match.group(2)
            if target.split("/")[0] in ROOTS:
                finding = check_ours(source, line, target)
                if finding:
                    yield finding
            elif match.group(1) == '"' and "/" not in target:
                yield Finding("layers", source.path, line, f'"{target}": includes are named from the tree\'s root')
            yield from check_libraries(source, line, target)
            for pattern, folder in ONE_FILE_ONLY.items():
                if re.search(pattern, target) and inside(source.path, (folder,)):
                    users[pattern].add(source.path)
    for pattern, paths in users.items():
        for path in sorted(paths)[1:]:
            yield Finding("layers", path, 1, f"{pattern} is already included by {sorted(paths)[0]}: one file only")


TARGET_FOLDERS = {key.replace("/", "_"): key for key in MAY_INCLUDE} | {
    "engine_report": "engine/eval", "stages_task": "stages", "cli_driver": "cli"}
LIBRARY_CALL = re.compile(r"gridquant_library\(\s*(\w+)(.*?)\)", re.DOTALL)


def check_links(sources):
    """A target links only targets whose folders its own folder may include."""
    for source in sources:
        if not source.path.endswith("CMakeLists.txt") or inside(source.path, ANYTHING):
            continue
        for line, match in source.find(LIBRARY_CALL, bare=False):
            own = TARGET_FOLDERS.get(match.group(1))
            if own is None:
                yield Finding("layers", source.path, line, f"target {match.group(1)} is not named after a folder")
                continue
            allowed = {place if place in MAY_INCLUDE else folder_key(place) for place in MAY_INCLUDE[own]}
            for name in re.findall(r"\b\w+\b", match.group(2).split("LINKS")[-1]):
                folder = TARGET_FOLDERS.get(name)
                if folder and folder != own and folder not in allowed:
                    yield Finding("layers", source.path, line, f"{match.group(1)} may not link {name}")
