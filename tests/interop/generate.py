"""What the model under calibration writes greedily, beside transformers' generate on the same prompts.

usage: generate.py GRIDQUANT_BINARY WORK_FOLDER MODEL_FOLDER...

Every token must be the one that transformers chooses in fp32, unless its two best logits there are nearer than 1e-3:
from such a tie on, the sequence is not compared. Exit status 1 if a token differs, or ties leave less than half.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy
import torch
import transformers

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


def compare(model, tokenizer, prompt, ours):
    """(tokens compared, first difference or None)"""
    start = tokenizer(prompt)["input_ids"]
    if ours[:len(start)] != start:
        return 0, f"{prompt!r}: begins with {ours[:len(start)]}, not {start}"
    end = tokenizer.eos_token_id
    ids = torch.tensor([start])
    made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, eos_token_id=end, pad_token_id=0,
                          max_new_tokens=LENGTH - len(start), output_logits=True, return_dict_in_generate=True)
    for at, logits in enumerate(made.logits):
        best = torch.topk(logits[0], 2).values
        token, mine = int(made.sequences[0][len(start) + at]), ours[len(start) + at]
        if token != mine:
            tie = float(best[0] - best[1]) < TIE
            return at, None if tie else f"{prompt!r}: token {at} is {mine}, transformers has {token}"
    return len(made.logits), None


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    binary, work, *folders = sys.argv[1:]
    bad = False
    for number, folder in enumerate(folders):
        ours = our_tokens(binary, pathlib.Path(work, str(number)), folder, PROMPTS)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        results = [compare(model, tokenizer, prompt, ids) for prompt, ids in zip(PROMPTS, ours)]
        compared = sum(count for count, _ in results)
        wrong = [text for _, text in results if text is not None]
        bad = bad or bool(wrong) or compared < len(PROMPTS) * LENGTH // 2
        print(f"{folder}: {compared} greedy tokens of {len(PROMPTS)} prompts compared, {len(wrong)} prompts differ")
        print("\n".join(wrong))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
