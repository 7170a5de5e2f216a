"""llm-compressor's GPTQ (symmetric, other settings its defaults) on given token ids, on the CPU. Time counts loading,
quantizing and saving, not importing."""

import argparse

import common

common.quiet_environment()

import torch  # noqa: E402
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme  # noqa: E402
from datasets import Dataset  # noqa: E402
from llmcompressor import oneshot  # noqa: E402
from llmcompressor.modifiers.quantization import GPTQModifier  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402


def recipe(bits, group):
    weights = QuantizationArgs(num_bits=bits, type="int", symmetric=True, strategy="group", group_size=group)
    return [GPTQModifier(config_groups={"group_0": QuantizationScheme(targets=["Linear"], weights=weights)},
                         ignore=["lm_head"])]


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
    rows = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in sequences]
    dataset = Dataset.from_list(rows)
    dtype = torch.float32 if args.dtype == "fp32" else torch.bfloat16
    watch = common.Stopwatch()
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype)
    watch.lap("load")
    oneshot(model=model, dataset=dataset, recipe=recipe(args.bits, args.group), max_seq_length=args.length,
            num_calibration_samples=len(rows), shuffle_calibration_samples=False)
    watch.lap("quantize")
    model.save_pretrained(args.out, save_compressed=True)
    watch.lap("save")
    common.report(watch, peer="llmcompressor", dtype=args.dtype, sequences=len(sequences))


if __name__ == "__main__":
    main()
