#!/usr/bin/env python3
"""Trains the small model: Llama architecture, 6 blocks of width 256, tied embeddings, byte-level BPE of 8192.

usage: train.py CORPUS_DIR OUT_DIR [--steps N] [--replan AT:N] [--threads T]
CORPUS_DIR is what prepare_data.py wrote.  One seed decides the order of the data and the initial weights.
--replan AT:N goes over to the schedule of N steps at step AT.  The shipped model: --steps 2200 --replan 1390:1640
"""
import argparse, csv, json, math, os, shutil, time
import numpy as np
import torch

SEED, CONTEXT, BATCH, PEAK_LR, MIN_LR, WARMUP = 20261122, 512, 16, 3e-3, 1.5e-4, 100


def make_model():
    from transformers import LlamaConfig, LlamaForCausalLM
    torch.manual_seed(SEED)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=8192, hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, rope_theta=10000.0,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, initializer_range=0.02))


def learning_rate(step, steps):
    if step < WARMUP:
        return PEAK_LR * (step + 1) / WARMUP
    progress = (step - WARMUP) / max(1, steps - WARMUP)
    return MIN_LR + 0.5 * (PEAK_LR - MIN_LR) * (1 + math.cos(math.pi * progress))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    parser.add_argument("out")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--replan", default="")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = torch.from_numpy(np.fromfile(os.path.join(args.corpus, "train.bin"), dtype=np.uint16).astype(np.int64))
    model = make_model()
    print("parameters", sum(p.numel() for p in model.parameters()))
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
                                  lr=PEAK_LR, betas=(0.9, 0.95), fused=True)
    forward = torch.compile(model.model)
    generator = torch.Generator().manual_seed(SEED)
    windows = (len(data) - 1) // CONTEXT
    order = torch.empty(0, dtype=torch.int64)
    os.makedirs(args.out, exist_ok=True)
    log = csv.writer(open(os.path.join(args.out, "loss.csv"), "w", newline=""))
    log.writerow(["step", "tokens", "loss"])
    start, mean = time.time(), None
    replan_at, replanned = (int(n) for n in args.replan.split(":")) if args.replan else (args.steps, args.steps)
    for step in range(replanned):
        if step == replan_at:
            args.steps = replanned
        if len(order) < BATCH:
            shift = int(torch.randint(0, CONTEXT, (1,), generator=generator))
            epoch = torch.randperm(windows - 1, generator=generator) * CONTEXT + shift
            order = torch.cat([order, epoch])
        picked, order = order[:BATCH], order[BATCH:]
        ids = torch.stack([data[i:i + CONTEXT + 1] for i in picked.tolist()])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = forward(input_ids=ids[:, :-1]).last_hidden_state
            logits = model.lm_head(hidden)
        loss = torch.nn.functional.cross_entropy(logits.float().view(-1, 8192), ids[:, 1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean = loss.item() if mean is None else 0.95 * mean + 0.05 * loss.item()
        if step % 20 == 0 or step == args.steps - 1:
            log.writerow([step, (step + 1) * BATCH * CONTEXT, f"{mean:.4f}"])
            rate = (step + 1) * BATCH * CONTEXT / (time.time() - start)
            print(f"step {step} loss {mean:.4f} tokens/s {rate:.0f} elapsed {time.time() - start:.0f}", flush=True)
        if step % 250 == 249 or step == args.steps - 1:
            save(model, args)


def save(model, args):
    copy = make_model()
    copy.load_state_dict(model.state_dict())
    copy = copy.to(torch.bfloat16)
    copy.save_pretrained(args.out)
    shutil.copy(os.path.join(args.corpus, "tokenizer.json"), os.path.join(args.out, "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>",
                "eos_token": "<|end_of_text|>", "model_max_length": CONTEXT, "clean_up_tokenization_spaces": False}
    with open(os.path.join(args.out, "tokenizer_config.json"), "w") as f:
        json.dump(settings, f, indent=2)


if __name__ == "__main__":
    main()
