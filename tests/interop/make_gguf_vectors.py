#!/usr/bin/env python3
"""Makes tests/golden/gguf/blocks.json: for every block type, raw blocks and what the gguf package dequantizes them to,
as bits. usage: make_gguf_vectors.py OUT"""

import json
import sys

import gguf
import numpy

SEED = 20261125
# Where the fp16 numbers of a block are.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def main():
    generator = numpy.random.default_rng(SEED)
    cases = []
    for name, halves in HALVES.items():
        kind = gguf.GGMLQuantizationType[name]
        size = gguf.GGML_QUANT_SIZES[kind][1]
        blocks = generator.integers(0, 256, (2, size), dtype=numpy.uint8)
        for row, largest in zip(blocks, (1.0, 1e-4)):  # normal and subnormal scales
            for at in halves:
                half = numpy.array([generator.uniform(-largest, largest)], dtype=numpy.float16)
                row[at:at + 2] = half.view(numpy.uint8)
        values = gguf.dequantize(blocks.reshape(-1), kind).astype(numpy.float32)
        assert numpy.isfinite(values).all()
        cases.append({"type": name, "blocks": blocks.tobytes().hex(), "values": values.tobytes().hex()})
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        json.dump(cases, out, indent=0)
        out.write("\n")


if __name__ == "__main__":
    main()
