"""GPTQModel's GPTQ with its defaults (symmetric) on given token ids, on the CPU. Time counts loading, quantizing and
saving, not importing."""

import argparse

import common

common.quiet_environment()

import torch  # noqa: E402
from gptqmodel import GPTQModel, QuantizeConfig  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("tokens")
    parser.add_argument("out")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--limit", type=int, default=0, help="only the first sequences")
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--dtype", choices=common.DTYPES, default="fp32")
    args = parser.parse_args()
    sequences = common.read_tokens(args.tokens, args.length, args.limit)
    calibration = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in sequences]
    dtype = torch.float32 if args.dtype == "fp32" else torch.bfloat16
    watch = common.Stopwatch()
    config = QuantizeConfig(bits=args.bits, group_size=args.group)
    model = GPTQModel.load(args.model, config, device="cpu", dtype=dtype)
    watch.lap("load")
    model.quantize(calibration, batch_size=1)
    watch.lap("quantize")
    model.save(args.out)
    watch.lap("save")
    common.report(watch, peer="gptqmodel", dtype=args.dtype, sequences=len(sequences))


if __name__ == "__main__":
    main()
