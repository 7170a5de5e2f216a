"""What the scripts beside it share: token files, timing, peak memory, the one JSON line that a peer run ends with."""

import argparse
import json
import os
import resource
import sys
import time

DTYPES = ("fp32", "bf16")


def quiet_environment():
    """Before torch or a peer is imported: as many threads as cores, no network."""
    cores = str(len(os.sched_getaffinity(0)))
    os.environ.setdefault("OMP_NUM_THREADS", cores)
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", cores)  # its default pool raises ValueError on two cores
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model")
    parser.add_argument("tokens")
    parser.add_argument("out")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--limit", type=int, default=0, help="only the first sequences")
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    return parser.parse_args()


def torch_dtype(name):
    import torch

    return torch.float32 if name == "fp32" else torch.bfloat16


def read_tokens(path, length, limit=0):
    """Sequences of `length` ids from int32 little-endian, as `gridquant`'s calibrate stage leaves them."""
    import numpy

    ids = numpy.fromfile(path, dtype="<i4")
    if len(ids) == 0 or len(ids) % length != 0:
        sys.exit(f"error: {path} holds {len(ids)} ids, not a multiple of {length}")
    sequences = ids.reshape(-1, length).astype("int64")
    return sequences[:limit] if limit else sequences


class Stopwatch:
    """Seconds of each phase, in order."""

    def __init__(self):
        self.seconds = {}
        self.last = time.perf_counter()

    def lap(self, name):
        now = time.perf_counter()
        self.seconds[name] = now - self.last
        self.last = now


def report(watch, **facts):
    facts.update({f"{name}_s": round(seconds, 3) for name, seconds in watch.seconds.items()})
    facts["total_s"] = round(sum(watch.seconds.values()), 3)
    facts["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("PEER " + json.dumps(facts), flush=True)
