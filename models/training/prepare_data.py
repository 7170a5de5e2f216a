#!/usr/bin/env python3
"""Makes the training corpus, the tokenizer and the held-out texts of the small model.

Reads the public texts listed in SOURCES (folder: $GRIDQUANT_TEST_DATA, or the first argument), cuts them into
documents, puts every document whose digest falls into the held-out share aside, trains a byte-level BPE on the rest
and writes the token stream.  Held-out documents become the calibration and evaluation texts in models/data; no
document is in two of the three sets.  Everything is decided by content digests: no random numbers.
"""
import csv, glob, hashlib, json, os, re, sys
import numpy as np

VOCAB = 8192
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"


def text(*parts):
    return open(os.path.join(ROOT, *parts), encoding="utf-8", errors="replace").read()


def shakespeare():
    speeches = text("texts/tinyshakespeare/input.txt").split("\n\n")
    return ["\n\n".join(speeches[i:i + 12]) for i in range(0, len(speeches), 12)]


def gsm8k():
    for name in ("train", "test"):
        for line in text(f"benchmarks/gsm8k/{name}.jsonl").splitlines():
            row = json.loads(line)
            answer = re.sub(r"<<.*?>>", "", row["answer"]).replace("#### ", "The answer is ") + "."
            yield row["question"] + "\n" + answer


def hellaswag():
    for line in text("benchmarks/hellaswag-subset/hellaswag.jsonl").splitlines():
        row = json.loads(line)
        yield row["ctx"] + " " + row["endings"][row["label"]]


def mmlu():
    for path in sorted(glob.glob(os.path.join(ROOT, "benchmarks/mmlu/test/*.csv"))):
        for row in list(csv.reader(open(path, encoding="utf-8")))[1:]:
            if len(row) == 6 and len(row[0]) < 1500:
                yield row[0] + "\n" + row[1 + int(row[5])]


def wikitext():
    raw = text("texts/wikitext-2/wikitext2_train_5k.txt").replace("<unk>", "")
    raw = re.sub(r" @(.)@ ", r"\1", raw)
    raw = re.sub(r" ([,.;:!?)\]%]|'s|n't|'re|'ll|'ve)", r"\1", raw)
    raw = re.sub(r'" ([^"\n]*?) "', r'"\1"', re.sub(r"([(\[]) ", r"\1", raw))
    paragraphs = [p.strip() for p in raw.split("\n") if len(p.strip()) > 2]
    return ["\n".join(paragraphs[i:i + 4]) for i in range(0, len(paragraphs), 4)]


def law():
    documents = []
    for statute in re.split(r"\n(?=# )", text("texts/derived/ko_law_sample.txt")):
        lines = statute.splitlines()
        documents += ["\n".join(lines[i:i + 12]) for i in range(0, len(lines), 12)]
    return documents


def nsmc():
    reviews = [l.split("\t")[2] for l in text("texts/nsmc/nsmc_raw_sample.tsv").splitlines()[1:] if l.count("\t") == 2]
    reviews = [r for r in reviews if "\ufffd" not in r and len(r) > 8]
    return ["\n".join(reviews[i:i + 8]) for i in range(0, len(reviews), 8)]


def chatbot():
    rows = list(csv.reader(open(os.path.join(ROOT, "texts/ko_chatbot/ChatbotData.csv"), encoding="utf-8")))[1:]
    pairs = [f"질문: {r[0]}\n대답: {r[1]}" for r in rows]
    return ["\n".join(pairs[i:i + 6]) for i in range(0, len(pairs), 6)]


def ud():
    documents = []
    for name in ("kaist-ud-dev", "kaist-ud-test", "gsd-ud-dev", "gsd-ud-test"):
        lines = text(f"texts/derived/ko_{name}.txt").splitlines()
        documents += [" ".join(lines[i:i + 6]) for i in range(0, len(lines), 6)]
    return documents


def nlu():
    sentences = []
    for name in ("KorNLI/xnli.dev.ko", "KorNLI/xnli.test.ko"):
        for line in text(f"benchmarks/kor-nlu/{name}.tsv").splitlines()[1:]:
            sentences += line.split("\t")[:2]
    for line in text("benchmarks/kor-nlu/KorSTS/sts-train.tsv").splitlines()[1:]:
        sentences += line.split("\t")[5:7]
    sentences = list(dict.fromkeys(sentences))
    return [" ".join(sentences[i:i + 6]) for i in range(0, len(sentences), 6)]


SOURCES = {"en": [shakespeare, gsm8k, hellaswag, mmlu, wikitext], "ko": [law, nsmc, chatbot, ud, nlu]}


def bucket(document):
    return hashlib.sha256(document.encode()).digest()[0]


def main():
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    out = sys.argv[2]
    os.makedirs(out, exist_ok=True)
    os.makedirs(DATA, exist_ok=True)
    train, held = [], {}
    for language, sources in SOURCES.items():
        for source in sources:
            seen = dict.fromkeys(d.strip() for d in source() if len(d.strip()) > 40)
            kept = [d for d in seen if bucket(d) >= 16]
            train += [(language, d) for d in kept]
            for d in seen:
                if bucket(d) < 16:
                    held.setdefault((language, "calibration" if bucket(d) < 9 else "evaluation"), []).append(d)
            print(f"{language} {source.__name__:12s} documents {len(seen):6d} "
                  f"train bytes {sum(len(d.encode()) for d in kept)}")
    for (language, use), documents in held.items():
        documents.sort(key=lambda d: hashlib.sha256(d.encode()).hexdigest()[2:])
        size, picked = 0, []
        for d in documents:
            if size < (260_000 if use == "calibration" else 130_000):
                picked.append(d)
                size += len(d.encode())
        with open(os.path.join(DATA, f"{use}.{language}.txt"), "w", encoding="utf-8") as f:
            f.write("\n\n".join(picked) + "\n")
        print(language, use, "documents", len(picked), "bytes", size)

    train.sort(key=lambda p: hashlib.sha256(p[1].encode()).hexdigest()[4:])
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[BOS, EOS],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator((d for _, d in train), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B:1", special_tokens=[(BOS, 0)])
    tokenizer.save(os.path.join(out, "tokenizer.json"), pretty=False)
    ids, counts = [], {"en": 0, "ko": 0}
    for (language, _), e in zip(train, tokenizer.encode_batch([d for _, d in train])):
        ids += e.ids + [1]
        counts[language] += len(e.ids) + 1
    np.array(ids, dtype=np.uint16).tofile(os.path.join(out, "train.bin"))
    print("train tokens", len(ids), counts)


if __name__ == "__main__":
    ROOT = os.environ.get("GRIDQUANT_TEST_DATA") or sys.argv[1]
    DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
    main()
