"""Prompt processing by transformers on torch: the blocks of a random Llama, no head. Says the best of several batch
sizes; the first pass of each is not counted."""

import argparse
import json
import time

import common

common.quiet_environment()

import torch  # noqa: E402
from transformers import LlamaConfig, LlamaModel  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("hidden", "intermediate", "heads", "kv-heads", "head-dim", "blocks"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--dtype", choices=common.DTYPES, required=True)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=8, help="per batch size")
    args = parser.parse_args()
    config = LlamaConfig(hidden_size=args.hidden, intermediate_size=args.intermediate, num_attention_heads=args.heads,
                         num_key_value_heads=args.kv_heads, head_dim=args.head_dim, num_hidden_layers=args.blocks,
                         vocab_size=512, max_position_embeddings=2048)
    model = LlamaModel(config).to(torch.float32 if args.dtype == "fp32" else torch.bfloat16).eval()
    best = {}
    with torch.inference_mode():
        for batch in (1, 4):
            ids = torch.randint(0, 512, (batch, args.tokens))
            model(ids, use_cache=False)
            begin, fastest = time.perf_counter(), float("inf")
            while time.perf_counter() - begin < args.seconds:
                start = time.perf_counter()
                model(ids, use_cache=False)
                fastest = min(fastest, time.perf_counter() - start)
            best[batch] = batch * args.tokens / fastest
    print("PEER " + json.dumps({"peer": "torch", "dtype": args.dtype, "blocks": args.blocks,
                                "tokens_per_s": max(best.values()), "by_batch": best}))


if __name__ == "__main__":
    main()
