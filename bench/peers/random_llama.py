"""A Llama of given shapes with random weights, few blocks and a vocabulary that costs nothing: as GGUF for llama.cpp.
Rates do not depend on the weights' values.

usage: random_llama.py OUT.gguf --hidden N --intermediate N --heads N --kv-heads N --head-dim N --blocks N --dtype T
"""

import argparse

import gguf
import numpy

VOCABULARY = 32
DTYPES = {"fp32": gguf.GGMLQuantizationType.F32, "fp16": gguf.GGMLQuantizationType.F16,
          "bf16": gguf.GGMLQuantizationType.BF16}


def add_vocabulary(writer):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"t{i}" for i in range(VOCABULARY)])
    writer.add_token_types([gguf.TokenType.NORMAL] * VOCABULARY)
    writer.add_token_merges(["t 1"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    for name in ("hidden", "intermediate", "heads", "kv-heads", "head-dim", "blocks"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--dtype", choices=DTYPES, required=True)
    args = parser.parse_args()
    writer = gguf.GGUFWriter(args.out, "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(args.hidden)
    writer.add_block_count(args.blocks)
    writer.add_feed_forward_length(args.intermediate)
    writer.add_head_count(args.heads)
    writer.add_head_count_kv(args.kv_heads)
    writer.add_key_length(args.head_dim)
    writer.add_value_length(args.head_dim)
    writer.add_rope_dimension_count(args.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_vocab_size(VOCABULARY)
    add_vocabulary(writer)
    random = numpy.random.default_rng(1)

    def matrix(name, rows, cols):
        values = random.standard_normal((rows, cols), dtype=numpy.float32) * numpy.float32(0.02)
        kind = DTYPES[args.dtype]
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def norm(name):
        writer.add_tensor(name, numpy.ones(args.hidden, dtype=numpy.float32))

    q, kv = args.heads * args.head_dim, args.kv_heads * args.head_dim
    matrix("token_embd.weight", VOCABULARY, args.hidden)
    norm("output_norm.weight")
    for b in range(args.blocks):
        norm(f"blk.{b}.attn_norm.weight")
        norm(f"blk.{b}.ffn_norm.weight")
        for name, rows, cols in (("attn_q", q, args.hidden), ("attn_k", kv, args.hidden), ("attn_v", kv, args.hidden),
                                 ("attn_output", args.hidden, q), ("ffn_gate", args.intermediate, args.hidden),
                                 ("ffn_up", args.intermediate, args.hidden),
                                 ("ffn_down", args.hidden, args.intermediate)):
            matrix(f"blk.{b}.{name}.weight", rows, cols)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
