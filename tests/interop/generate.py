"""What the model under calibration writes greedily, beside transformers' generate on the same prompts.

usage: generate.py GRIDQUANT_BINARY WORK_FOLDER MODEL_FOLDER

Every token must be the one that transformers chooses in fp32, unless its two best logits there are nearer than 1e-3:
from such a tie on, the sequence is not compared. For MODEL_FOLDER, and for tiny random models with its tokenizer: a
window shorter than the sequences, norms on q and k, two rotary embeddings, fused projections, experts. transformers'
choice is taken from one pass over our tokens (the most likely token after each of them), and for the first prompts of
MODEL_FOLDER from generate itself. Exit status 1 if a token differs, or ties leave less than half.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers

from architecture_variants import KINDS, Variant, make, random_model

PROMPTS = ["Once upon a time", "The city of Seoul", "In the beginning", "대한민국의 수도는", "옛날 옛적에", "The law says that",
           "A", "He said:", "오늘 날씨가", "Science is"]
TIE = 1e-3
LENGTH = 96


def our_tokens(binary, work, model, prompts):
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "prompts.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
    pipeline = pathlib.Path(__file__).with_name("generate.yaml")
    subprocess.run([binary, "run", pipeline, "--workdir", work / "work", "--output", work / "out",
                    "-p", f"model={model}", "-p", f"prompts={work / 'prompts.txt'}", "-p", f"samples={len(prompts)}"],
                   check=True, stdout=subprocess.DEVNULL)
    found = list((work / "work").rglob("tokens.bin"))
    assert len(found) == 1, found
    info = json.loads(found[0].with_name("tokens.json").read_text(encoding="utf-8"))
    return numpy.fromfile(found[0], dtype=numpy.int32).reshape(info["count"], info["length"]).tolist()


def compare(logits, start, end, ours):
    """(tokens compared, first difference or None). `logits` after each of our tokens."""
    if ours[:len(start)] != start:
        return 0, f"begins with {ours[:len(start)]}, not {start}"
    for at in range(len(start), len(ours)):
        best, tokens = torch.topk(logits[at - 1], 2)
        if ours[at] != int(tokens[0]):
            tie = float(best[0] - best[1]) < TIE
            return at - len(start), None if tie else f"token {at} is {ours[at]}, transformers has {int(tokens[0])}"
        if ours[at] == end:
            return at + 1 - len(start), None
    return len(ours) - len(start), None


def generated_differs(model, start, end, ours):
    """Whether generate itself writes another text than a pass over our tokens says."""
    ids = torch.tensor([start])
    made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, eos_token_id=end, pad_token_id=0,
                          max_new_tokens=LENGTH - len(start))[0].tolist()
    return made != ours[:len(made)]


def check(binary, work, folder, generated):
    """Problems, as lines."""
    ours = our_tokens(binary, work, folder, PROMPTS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.tensor(ours)).logits
    wrong, compared, whole = [], 0, LENGTH // 2 * len(PROMPTS)
    for number, (prompt, ids) in enumerate(zip(PROMPTS, ours)):
        start = tokenizer(prompt)["input_ids"]
        count, difference = compare(logits[number], start, tokenizer.eos_token_id, ids)
        compared += count
        complete = difference is None and (count == LENGTH - len(start) or tokenizer.eos_token_id in ids[len(start):])
        if complete and number < generated and generated_differs(model, start, tokenizer.eos_token_id, ids):
            difference = "generate itself writes another text"
        wrong += [] if difference is None else [f"{prompt!r}: {difference}"]
    print(f"{folder}: {compared} greedy tokens of {len(PROMPTS)} prompts compared, {len(wrong)} prompts differ")
    return wrong + ([f"{folder}: only {compared} tokens could be compared"] if compared < whole else [])


def random_models(folder, tokenizer_folder):
    """Folders of tiny random models that have the tokenizer of another model."""
    vocabulary = transformers.AutoConfig.from_pretrained(tokenizer_folder).vocab_size
    size = dict(vocab_size=vocabulary)
    kinds = {"mistral": make("Mistral", sliding_window=24, **size), "qwen3": make("Qwen3", head_dim=20, **size),
             "gemma3": make("Gemma3Text", head_dim=20, sliding_window=24, layer_types=KINDS, **size),
             "phi3": make("Phi3", **size), "mixtral": make("Mixtral", num_local_experts=4, **size)}
    for name, config in kinds.items():
        to = folder / name
        random_model(Variant(name, config), 1).save_pretrained(to)
        for file in pathlib.Path(tokenizer_folder).glob("tokenizer*"):
            shutil.copy(file, to)
        yield to


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    binary, work, folder = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    wrong = check(binary, work / "model", folder, generated=3)
    with tempfile.TemporaryDirectory() as made:
        for model in random_models(pathlib.Path(made), folder):
            wrong += check(binary, work / model.name, model, generated=0)
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
