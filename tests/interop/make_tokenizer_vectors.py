"""Writes tests/unit/text/vectors.jsonl: what Hugging Face tokenizers makes of small tokenizers, feature by feature.

usage: make_tokenizer_vectors.py OUT

Line 1 is a tokenizer.json; every other line is {name, patch, cases}: the patch (RFC 7386) that turns it into another
tokenizer, and texts with ids (without special tokens), ids_special (left out where the same), decoded (of ids_special;
left out where it is the text) and decoded_plain (without special tokens; left out where it is decoded).
"""

import copy
import json
import sys

import tokenizers
from tokenizers import Tokenizer, pre_tokenizers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MERGES = [
    "h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "Ġwor l", "Ġworl d", "Ġ Ġ", "ĠĠ ĠĠ", "1 2", "12 3", "- -",
    "a b", "b c", "ab c", "í ķ", "íķ ľ", "ê µ", "êµ Ń", "íķľ êµŃ", "Ġ íķľêµŃ", "Ã ©", "e Ì", "eÌ ģ", "Ċ Ċ", "d o",
    "do n", "don '", "' t", "n ot", "n o", "no t", "ï ¼", "< s", "<s >", "Ġ <", "x y", "y x", "xy x", "x yx",
]
CHARACTER_MERGES = [
    "▁ ▁", "▁▁ ▁▁", "▁ h", "▁ w", "w o", "▁h e", "▁he ll", "▁hell o", "한 국", "▁ 한국", "x ▁", "l d", "wo r",
    "▁ wor", "▁wor ld",
]
SPLITS = [dict(Regex=r"-|\d|\s"), dict(String="--"), dict(Regex=r"b*"), dict(Regex=r"(?=l)|^|\w+$")]
TEXTS = [
    "",
    " ",
    "    ",
    "hello world",
    " hello  world ",
    "HELLO don't DON'T 'Ll ",
    "abcabc abab bcbc xyxyxyx",
    "1234567 12 ½ ٣٤٥ Ⅷ a1b22c333",
    "line\nline\r\n\r\n  indented\t tab \n \n",
    "a-b--c---d - -- ",
    "한국어 한국 말 ㄱㅏ 한글",
    "e\u0301 \u00e9 \u212b A\u030a \u1112\u1161\u11ab q\u0323\u0307 q\u0307\u0323 \u0344 \u0958",
    "<s>hello</s> <s> not <s",
    "a <mask>  b<mask>c \t<mask>\n",
    "wordy word-word word word1 word한 word\u0301 word",
    "naïve façade Straße ŒUVRE ǅ ʰ x² \u017f 'ſ K",
    "emoji 👩\u200d👩\u200d👧\ufe0f 🇰🇷 ok",
    "\u180e\u3000\u00a0\u2028x\u0085y\ufeff",
    "\U000323af\U0002ebf0 \U00016d40\U0001e5f1 new letters \U0001fae9",
    "zero\0byte",
    "'s't're've'm'll'd'x ''",
    "x" * 70 + "y" * 70 + "xy" * 40,
    "\u0345\u07fd\u0323 \u0301\u0c3c\u0316 \U00011935\U00011930 \U00011938 e\u0301\u07fd\u0301",
    "if (a<b) { return x[0] && !y; } // #1 @me $5.00 %d",
    "한국<s>한국</s>국한  <mask>한국",
]


def token(number, content, **flags):
    plain = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return dict(id=number, content=content, **{**plain, **flags})


def base():
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = []
    for merge in MERGES:
        left, right = merge.split(" ")
        if left in vocab and right in vocab:
            vocab.setdefault(left + right, len(vocab))
            merges.append(merge)
    vocab["Ġhello"] = len(vocab)  # no merge makes it: only ignore_merges finds it
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    model = dict(
        type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
        fuse_unk=False, byte_fallback=False, ignore_merges=False, vocab=vocab, merges=merges,
    )
    size = len(vocab)
    return dict(
        version="1.0", truncation=None, padding=None, normalizer=None, pre_tokenizer=byte_level,
        added_tokens=[token(vocab["<s>"], "<s>"), token(size, "</s>"), token(size + 1, "<mask>")],
        post_processor=None, decoder=byte_level, model=model,
    )


def split(pattern, behavior="Isolated", invert=False, use_regex=False, **options):
    first = dict(type="Split", pattern=pattern, behavior=behavior, invert=invert)
    last = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=use_regex, **options)
    return dict(pre_tokenizer=dict(type="Sequence", pretokenizers=[first, last]))


def template(single, specials):
    listed = {name: dict(id=name, ids=ids, tokens=[name] * len(ids)) for name, ids in specials.items()}
    kinds = [("Sequence" if piece == "A" else "SpecialToken", piece) for piece in single]
    pieces = [{kind: dict(id=piece, type_id=0)} for kind, piece in kinds]
    pair = [dict(Sequence=dict(id=text, type_id=0)) for text in "AB"]
    return dict(type="TemplateProcessing", single=pieces, pair=pair, special_tokens=listed)


def replace(pattern, content):
    return dict(type="Replace", pattern=pattern, content=content)


def sequence(kind, *parts):
    return dict(type="Sequence", **{kind: list(parts)})


SPACES = replace(dict(String=" "), "▁")
LLAMA = sequence("normalizers", dict(type="Prepend", prepend="▁"), SPACES)
BACK = replace(dict(String="▁"), " ")
LLAMA_DECODER = sequence(
    "decoders", BACK, dict(type="ByteFallback"), dict(type="Fuse"), dict(type="Strip", content=" ", start=1, stop=0)
)


def characters(start, bytes_known=range(256), added=(), **patch):
    """A vocabulary over characters; `patch` has the other parts, and under `model` more of the model's."""
    vocab = dict(start["model"]["vocab"])
    for merge in CHARACTER_MERGES:
        for part in [*merge.split(" "), merge.replace(" ", "")]:
            vocab.setdefault(part, len(vocab))
    for byte in bytes_known:
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    vocab["<unk>"] = len(vocab)
    size = len(vocab)
    tokens = [token(vocab["<s>"], "<s>"), token(size, "</s>"), token(size + 1, "<mask>"), *added]
    for i, entry in enumerate(added):
        entry["id"] = size + 2 + i
    model = dict(vocab=vocab, merges=[*CHARACTER_MERGES, "a b", "b c", "ab c", "< s", "<s >"], **patch.pop("model", {}))
    patch = dict(pre_tokenizer=None, decoder=LLAMA_DECODER, added_tokens=tokens, model=model) | patch
    for part in ["pre_tokenizer", "decoder"]:
        if patch[part] is not None:  # without what ByteLevel had
            patch[part] = dict(add_prefix_space=None, trim_offsets=None, use_regex=None) | patch[part]
    return patch


def character_features(start):
    fallback = dict(byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    yield "byte fallback", characters(start, normalizer=LLAMA, model=fallback)
    few = [byte for byte in range(256) if byte != 0xEA and byte != 0xCC]
    for fuse in [False, True]:
        model = dict(unk_token="<unk>", fuse_unk=fuse)
        yield f"byte fallback with holes, fuse {fuse}", characters(start, few, model=dict(byte_fallback=True, **model))
        yield f"unknown, fuse {fuse}", characters(start, normalizer=LLAMA, model=model)
    yield "nothing for the unknown", characters(start)
    whole_words = dict(ignore_merges=True, **fallback)
    yield "ignore_merges over characters", characters(start, normalizer=LLAMA, model=whole_words)
    gemma = dict(type="Split", pattern=dict(String=" "), behavior="MergedWithPrevious", invert=False)
    runs = [token(0, text, special=False) for text in ["\n\n", "  ", "▁▁▁"]]
    yield "as Gemma", characters(start, added=runs, normalizer=SPACES, pre_tokenizer=gemma, model=fallback)
    for scheme in ["always", "first", "never"]:
        for splits in [False, True]:
            space = dict(type="Metaspace", replacement="▁", prepend_scheme=scheme, split=splits)
            patch = characters(start, pre_tokenizer=space, decoder=space, model=fallback)
            yield f"Metaspace {scheme} {splits}", patch
    for prefix in [False, True]:
        old = dict(type="Metaspace", replacement="▁", add_prefix_space=prefix)
        if not prefix:
            old["prepend_scheme"] = "never"
        yield f"old Metaspace {prefix}", characters(start, pre_tokenizer=old, decoder=old, model=fallback)
    stripping = [token(0, "word", lstrip=True, normalized=True, special=False), token(0, "▁국", normalized=True)]
    first = dict(type="Metaspace", replacement="▁", prepend_scheme="first", split=True)
    yield "Metaspace and added tokens", characters(start, added=stripping, pre_tokenizer=first, model=fallback)
    yield "Prepend and added tokens", characters(start, added=stripping, normalizer=LLAMA, model=fallback)
    yield "no decoder", characters(start, decoder=None, model=fallback)
    for name, decoder in {
        "byte fallback": dict(type="ByteFallback"), "fuse": dict(type="Fuse"),
        "strips both": dict(type="Strip", content="l", start=2, stop=1),
        "replaces": replace(dict(Regex="[lo]+|▁"), "_"), "strips all": sequence(
            "decoders", dict(type="Fuse"), dict(type="Strip", content="h", start=1, stop=3)),
    }.items():
        yield f"decoder {name}", characters(start, normalizer=SPACES, decoder=decoder, model=fallback)


def part_features(start):
    byte_level = start["pre_tokenizer"]
    forms = [dict(type=name) for name in ["NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"]]
    strips = [dict(type="Strip", strip_left=left, strip_right=not left) for left in [False, True]]
    strips.append(dict(type="Strip", strip_left=True, strip_right=True))
    bare = sequence("normalizers", dict(type="NFD"), dict(type="StripAccents"), dict(type="Lowercase"))
    replaces = [replace(dict(Regex=r"\s+"), " "), replace(dict(String="a"), ""), replace(dict(Regex="[bc]+"), "-")]
    for normalizer in [*forms, *strips, bare, *replaces]:
        yield f"normalizer {json.dumps(normalizer)}", dict(normalizer=normalizer)
    words = [dict(type="Punctuation", behavior=name) for name in ["Isolated", "Removed", "Contiguous"]]
    words += [dict(type="Punctuation", behavior=f"MergedWith{name}") for name in ["Previous", "Next"]]
    words += [dict(type="Whitespace"), dict(type="WhitespaceSplit"), dict(type="CharDelimiterSplit", delimiter="l")]
    for word in words:
        yield f"pre_tokenizer {json.dumps(word)}", dict(pre_tokenizer=sequence("pretokenizers", word, byte_level))
    bos = start["model"]["vocab"]["<s>"]
    ends = dict(sep=["</s>", len(start["model"]["vocab"])], cls=["<s>", bos])
    yield "BertProcessing", dict(post_processor=dict(type="BertProcessing", **ends))
    roberta = dict(type="RobertaProcessing", trim_offsets=True, add_prefix_space=True, **ends)
    yield "RobertaProcessing", dict(post_processor=roberta)


def features(start):
    size = len(start["model"]["vocab"])
    bos = start["model"]["vocab"]["<s>"]
    byte_level = start["pre_tokenizer"]
    vocab = start["model"]["vocab"]
    rename = {"x": None, "Ġ": None, "한": vocab["x"], "▁": vocab["Ġ"]}
    yield "as it is", {}
    yield "prefix space", dict(pre_tokenizer=dict(add_prefix_space=True))
    yield "prefix space, no regex", dict(pre_tokenizer=dict(add_prefix_space=True, use_regex=False))
    yield "no regex", dict(pre_tokenizer=dict(use_regex=False))
    yield "ignore_merges", dict(model=dict(ignore_merges=True))
    yield "merges as pairs", dict(model=dict(merges=[m.split(" ") for m in start["model"]["merges"]]))
    yield "a merge given twice", dict(model=dict(merges=["b c", "a b", "ab c", "b c"]))
    unused = dict(unk_token="<s>", fuse_unk=True, byte_fallback=True)
    yield "unused unk_token, fuse_unk, byte_fallback", dict(model=unused)
    yield "bytes without a token", dict(model=dict(vocab=rename, merges=["a b", "b c"]))
    yield "NFC", dict(normalizer=dict(type="NFC"))
    yield "NFC in a sequence", dict(normalizer=dict(type="Sequence", normalizers=[dict(type="NFC"), dict(type="NFC")]))
    for name, pattern in dict(llama3=LLAMA3, deepseek=DEEPSEEK, gpt4o=GPT4O).items():
        yield name, split(dict(Regex=pattern))
        yield name + " and GPT-2", split(dict(Regex=pattern), use_regex=True)
    for behavior in ["Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"]:
        for invert in [False, True]:
            for pattern in SPLITS:
                yield f"split {pattern} {behavior} {invert}", split(pattern, behavior, invert)
    for individual in [False, True]:
        digits = dict(type="Digits", individual_digits=individual)
        yield f"digits {individual}", dict(pre_tokenizer=dict(type="Sequence", pretokenizers=[digits, byte_level]))
        spaced = {**byte_level, "add_prefix_space": True}
        yield f"digits {individual} spaced", dict(pre_tokenizer=dict(type="Sequence", pretokenizers=[digits, spaced]))
    strips = [dict(lstrip=True), dict(rstrip=True), dict(lstrip=True, rstrip=True)]
    for flags in [*strips, dict(normalized=True), dict(special=False)]:
        yield f"added {flags}", dict(added_tokens=[token(bos, "<s>"), token(size, "<mask>", **flags)])
    words = [token(size + i, word, single_word=True) for i, word in enumerate(["word", "한국"])]
    yield "single word", dict(added_tokens=words)
    known = [token(vocab[content], content) for content in "a ab abc bc -".split()]
    yield "longest first", dict(added_tokens=[*known, token(size, "  "), token(size + 1, "abcab")])
    accent = [token(size, "e\u0301", normalized=True), token(size + 1, "\u212b")]
    accent.append(token(size + 2, "é x", normalized=True))
    yield "normalized added token under NFC", dict(normalizer=dict(type="NFC"), added_tokens=accent)
    stripping = token(size, "<mask>", lstrip=True, rstrip=True)
    yield "stripping beside a space token", dict(added_tokens=[stripping, token(size + 1, " ")])
    yield "template", dict(post_processor=template(["<s>", "A", "</s>"], {"<s>": [bos], "</s>": [size]}))
    yield "template of several", dict(post_processor=template(["<s>", "A"], {"<s>": [bos, size, 7]}))
    in_sequence = [byte_level, template(["<s>", "A"], {"<s>": [bos]})]
    yield "template in a sequence", dict(post_processor=dict(type="Sequence", processors=in_sequence))
    yield "decoder sequence", dict(decoder=dict(type="Sequence", decoders=[byte_level, dict(type="Fuse")]))


def patched(document, patch):
    if not isinstance(patch, dict):
        return patch
    out = copy.deepcopy(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = patched(out.get(key), value)
    return out


def case(tokenizer, text):
    plain = tokenizer.encode(text, add_special_tokens=False).ids
    special = tokenizer.encode(text).ids
    decoded = tokenizer.decode(special, skip_special_tokens=False)
    decoded_plain = tokenizer.decode(special)
    out = dict(text=text, ids=plain)
    if special != plain:
        out["ids_special"] = special
    if decoded != text:
        out["decoded"] = decoded
    if decoded_plain != decoded:
        out["decoded_plain"] = decoded_plain
    return out


def cases(name, tokenizer):
    for text in TEXTS:
        try:
            yield case(tokenizer, text)
        except BaseException as error:  # the library has bugs of its own
            if type(error).__name__ != "PanicException":
                raise
            print(f"{name}: the library panics on {text!r}: left out")


def main():
    start = base()
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write(json.dumps(start, ensure_ascii=False) + "\n")
        for name, patch in [*features(start), *part_features(start), *character_features(start)]:
            tokenizer = Tokenizer.from_str(json.dumps(patched(start, patch)))
            feature = dict(name=name, patch=patch, cases=list(cases(name, tokenizer)))
            out.write(json.dumps(feature, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"made with tokenizers {tokenizers.__version__}")


if __name__ == "__main__":
    main()
