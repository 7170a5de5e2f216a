"""GPTQModel's GPTQ with its defaults (symmetric) on given token ids, on the CPU. Time counts loading, quantizing and
saving, not importing."""

import common

common.quiet_environment()

import torch  # noqa: E402
from gptqmodel import GPTQModel, QuantizeConfig  # noqa: E402


def main():
    args = common.arguments(__doc__)
    sequences = common.read_tokens(args.tokens, args.length, args.limit)
    calibration = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in sequences]
    dtype = common.torch_dtype(args.dtype)
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
