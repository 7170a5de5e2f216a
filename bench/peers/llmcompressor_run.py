"""llm-compressor's GPTQ (symmetric, other settings its defaults) on given token ids, on the CPU. Time counts loading,
quantizing and saving, not importing."""

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
    args = common.arguments(__doc__)
    sequences = common.read_tokens(args.tokens, args.length, args.limit)
    rows = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in sequences]
    dataset = Dataset.from_list(rows)
    dtype = common.torch_dtype(args.dtype)
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
