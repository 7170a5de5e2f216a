#!/usr/bin/env python3
"""Mixtures of experts beside transformers, on tiny random checkpoints that transformers makes.

usage: mixtures.py GQ_LOGITS GRIDQUANT WORK_FOLDER TOKENIZER_JSON

1. Logits in fp32 (relative error <= 1e-4) for several numbers of experts, experts per token, normalized and plain
   routing, blocks without experts, experts stored one by one and fused.
2. Logits in bf16, at most 1.5 times transformers' own bf16 noise, on the sequences whose routing is clear. A token
   between two experts may go to either when its logits are rounded, and then it is another sum altogether: so the
   sequences with the widest gap between the last expert chosen and the first one left out are taken, and transformers'
   bf16 must itself route them as its fp32 does.
3. A run of the real binary with GPTQ: every expert quantized by its own name and the router kept, also when the source
   was fused; calibrate's tokens per expert are transformers' own routing; our logits on the dequantized weights are
   transformers' on them.
Exit code 1 when something is above its limit.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy
import torch
import transformers
from safetensors.torch import save_file

from checkpoints import dequantized_weights, read_config, read_tensors, relative_error
from verdicts import Verdicts

FP32_LIMIT = 1e-4
BF16_FACTOR = 1.5
TOKENS = 150
COMMON = {"vocab_size": 8192, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
          "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.1}


def mixtral(experts, per_token, **more):
    return transformers.MixtralConfig(**COMMON, intermediate_size=96, num_local_experts=experts,
                                      num_experts_per_tok=per_token, **more)


def qwen3_moe(experts, per_token, normalized, **more):
    return transformers.Qwen3MoeConfig(**COMMON, intermediate_size=96, moe_intermediate_size=32, head_dim=32,
                                       num_experts=experts, num_experts_per_tok=per_token, norm_topk_prob=normalized,
                                       **more)


# name: (configuration, fused on disk)
CASES = {
    "mixtral 4/2": (mixtral(4, 2), False),
    "mixtral 4/2 fused": (mixtral(4, 2), True),
    "mixtral 8/3": (mixtral(8, 3), False),
    "mixtral 3/1": (mixtral(3, 1), False),
    "mixtral 4/2 window": (mixtral(4, 2, sliding_window=40), False),
    "qwen3-moe 8/2 normalized": (qwen3_moe(8, 2, True), False),
    "qwen3-moe 8/2 normalized fused": (qwen3_moe(8, 2, True), True),
    "qwen3-moe 16/4": (qwen3_moe(16, 4, False), False),
    "qwen3-moe 8/2 first block dense": (qwen3_moe(8, 2, True, mlp_only_layers=[0]), False),
    "qwen3-moe 8/2 every second block": (qwen3_moe(8, 2, False, decoder_sparse_step=2), True),
    "qwen3-moe 8/2 window": (qwen3_moe(8, 2, True, use_sliding_window=True, sliding_window=40), False),
}


def make_checkpoint(config, fused, folder):
    """A random model whose routing and norms are not all alike."""
    torch.manual_seed(11)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif name.endswith("mlp.gate.weight"):
                parameter.mul_(3)
    model.save_pretrained(folder, save_original_format=not fused)
    return model


def our_logits(binary, folder, ids, compute, scratch):
    ids_file, out_file = scratch / "ids.txt", scratch / "logits.f32"
    ids_file.write_text(" ".join(str(i) for i in ids))
    subprocess.run([binary, folder, ids_file, out_file, compute], check=True)
    return torch.from_numpy(numpy.fromfile(out_file, dtype=numpy.float32).reshape(len(ids), -1))


@torch.inference_mode()
def run(model, sequences):
    """Logits [sequences, tokens, vocabulary] and the router logits of each mixture, [sequences, tokens, experts]."""
    seen = []
    routers = [m for m in model.modules() if type(m).__name__.endswith("TopKRouter")]
    hooks = [m.register_forward_hook(lambda _m, _i, out: seen.append(out[0].float())) for m in routers]
    logits = model(sequences).logits.float()
    for hook in hooks:
        hook.remove()
    return logits, [router.reshape(*sequences.shape, -1) for router in seen]


def chosen(router_logits, per_token):
    return router_logits.topk(per_token, dim=-1).indices.sort(dim=-1).values


def check_bf16(binary, model, folder, scratch, verdicts, name):
    per_token = model.config.num_experts_per_tok
    torch.manual_seed(3)
    sequences = torch.randint(0, model.config.vocab_size, (1500, 20))
    _, routers = run(model, sequences)
    gaps = []
    for router in routers:
        top = router.topk(per_token + 1, dim=-1).values
        gaps.append((top[..., -2] - top[..., -1]).amin(dim=-1))
    clear = torch.stack(gaps).amin(dim=0).topk(20).indices
    rounded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    logits, routers = run(model, sequences[clear])
    theirs, rounded_routers = run(rounded, sequences[clear])
    same = torch.stack([(chosen(a, per_token) == chosen(b, per_token)).all(-1).all(-1)
                        for a, b in zip(routers, rounded_routers)]).all(dim=0)
    verdicts.fact(f"{name}: transformers routes {int(same.sum())} of 20 clear sequences alike in bf16", same.sum() >= 5)
    kept = clear[same]
    ours = torch.stack([our_logits(binary, folder, s.tolist(), "bf16", scratch) for s in sequences[kept]])
    noise = relative_error(theirs[same], logits[same])
    verdicts.error(f"{name}, bf16, {ours.shape[0]} sequences of 20", relative_error(ours, logits[same]),
                   BF16_FACTOR * noise)


def check_that_routing_matters(binary, folder, scratch, ids, reference, verdicts):
    """The same weights with other routing must be far away: else the comparisons above would say nothing."""
    path = folder / "config.json"
    text = path.read_text()
    for change in ({"norm_topk_prob": False}, {"num_experts_per_tok": 3}):
        path.write_text(json.dumps({**json.loads(text), **change}))
        error = relative_error(our_logits(binary, folder, ids, "fp32", scratch), reference)
        verdicts.fact(f"with {change} the logits are others (relative error {error:.2f})", error > 0.01)
    path.write_text(text)


def check_logits(binary, work, verdicts):
    scratch = work / "scratch"
    scratch.mkdir(parents=True)
    for name, (config, fused) in CASES.items():
        folder = work / name.replace(" ", "_").replace("/", "-")
        model = make_checkpoint(config, fused, folder)
        torch.manual_seed(5)
        ids = torch.randint(0, config.vocab_size, (1, TOKENS))
        reference, _ = run(model, ids)
        error = relative_error(our_logits(binary, folder, ids[0].tolist(), "fp32", scratch), reference[0])
        verdicts.error(f"{name}, fp32", error, FP32_LIMIT)
        if name == "qwen3-moe 8/2 normalized":
            check_that_routing_matters(binary, folder, scratch, ids[0].tolist(), reference[0], verdicts)
        if name in ("mixtral 4/2", "qwen3-moe 8/2 normalized fused"):
            check_bf16(binary, model, folder, scratch, verdicts, name)


def dequantized_model(checkpoint, folder):
    """The checkpoint's weights, read by checkpoints.py, as a plain folder and as transformers loads it."""
    folder.mkdir()
    weights, quantized = dequantized_weights(checkpoint)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    config = read_config(checkpoint)
    config.pop("quantization_config")
    (folder / "config.json").write_text(json.dumps(config))
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                                    output_loading_info=True)
    return model.eval(), quantized, info


def expected_names(config):
    """The weights that must be quantized, under the names of checkpoints with experts stored one by one."""
    names = set()
    is_mixtral = config.model_type == "mixtral"
    for block in range(config.num_hidden_layers):
        prefix = f"model.layers.{block}."
        names |= {f"{prefix}self_attn.{p}_proj.weight" for p in "qkvo"}
        dense = not is_mixtral and (block in config.mlp_only_layers or (block + 1) % config.decoder_sparse_step)
        layers = ("w1", "w2", "w3") if is_mixtral else ("gate_proj", "up_proj", "down_proj")
        modules = ["mlp."] if dense else [f"{'block_sparse_moe' if is_mixtral else 'mlp'}.experts.{e}."
                                          for e in range(config.num_experts)]
        names |= {f"{prefix}{module}{layer}.weight" for module in modules for layer in layers}
    return names


def check_counts(model, calibration, summary, verdicts, name):
    tokens = torch.from_numpy(numpy.fromfile(calibration / "tokens.bin", dtype=numpy.int32).astype(numpy.int64))
    described = json.loads((calibration / "tokens.json").read_text())
    sequences = tokens.reshape(-1, described["length"])
    _, routers = run(model, sequences)
    for router, row in zip(routers, summary):
        picks = chosen(router, model.config.num_experts_per_tok).flatten()
        theirs = torch.bincount(picks, minlength=model.config.num_experts).tolist()
        ours = [sum(of) for of in zip(*row["tokens"].values())]
        moved = sum(abs(a - b) for a, b in zip(ours, theirs))
        # fp32 sums in another order: a token on the edge may fall to the other side.
        verdicts.fact(f"{name}: block {row['block']}: tokens per expert {ours}, transformers {theirs}", moved <= 2)


def check_run(binaries, name, work, tokenizer, verdicts):
    logits_binary, gridquant = binaries
    config, _ = CASES[name]
    source = work / name.replace(" ", "_").replace("/", "-")
    shutil.copy(tokenizer, source / "tokenizer.json")
    out = work / (source.name + "-out")
    subprocess.run([gridquant, "run", pathlib.Path(__file__).with_name("mixture.yaml"), "--workdir", work / "state",
                    "--output", out, "-p", f"model={source}"], check=True, stdout=subprocess.DEVNULL)
    report = json.loads((out / "report.json").read_text())
    artifact = next(path for path in (work / "state" / "artifacts").glob("calibrate-*")
                    if json.loads((path / "artifact.json").read_text())["summary"]["experts"]
                    == report["calibration"]["experts"])
    original = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    check_counts(original, artifact, report["calibration"]["experts"], verdicts, name)
    model, quantized, info = dequantized_model(out / "checkpoint", work / (source.name + "-plain"))
    verdicts.fact(f"{name}: transformers finds every weight", not info["missing_keys"] and not info["unexpected_keys"])
    verdicts.fact(f"{name}: {len(quantized)} weights quantized, by the names of stored experts",
                  set(quantized) == expected_names(config))
    tensors, sources = read_tensors(out / "checkpoint"), read_tensors(source)
    routers = [key for key in tensors if key.endswith(("mlp.gate.weight", "block_sparse_moe.gate.weight"))]
    kept = [torch.equal(tensors[key], sources.get(key, sources.get(key.replace("block_sparse_moe", "mlp"))))
            for key in routers]
    verdicts.fact(f"{name}: {len(routers)} routers kept, bit for bit", len(routers) > 0 and all(kept))
    torch.manual_seed(6)
    ids = torch.randint(0, config.vocab_size, (1, TOKENS))
    reference, _ = run(model, ids)
    moved = relative_error(reference, run(original, ids)[0])
    verdicts.fact(f"{name}: quantization moved the logits by {moved:.3f}", 1e-3 < moved < 0.7)
    ours = our_logits(logits_binary, work / (source.name + "-plain"), ids[0].tolist(), "fp32", work / "scratch")
    verdicts.error(f"{name}: our forward pass on the dequantized weights", relative_error(ours, reference[0]),
                   FP32_LIMIT)


def main():
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    logits_binary, gridquant, work, tokenizer = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(2)
    shutil.rmtree(work, ignore_errors=True)
    verdicts = Verdicts()
    check_logits(logits_binary, work, verdicts)
    for name in ("mixtral 4/2 fused", "qwen3-moe 8/2 first block dense", "qwen3-moe 8/2 normalized fused"):
        check_run((logits_binary, gridquant), name, work, tokenizer, verdicts)
    return 1 if verdicts.bad else 0


if __name__ == "__main__":
    sys.exit(main())
