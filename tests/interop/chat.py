"""Chat templates rendered by us beside transformers' apply_chat_template, and the template language beside jinja2.

usage: chat.py GQ_CHAT_BINARY TEMPLATES_FOLDER [FILE_OR_FOLDER...]

Templates are *.jinja files, and "chat_template" of every tokenizer_config.json found. Each goes through fixed
conversations and random ones (Korean, quotes, line ends, HTML, white space of all kinds). Texts must be equal; where
transformers refuses, we must refuse. Exit status 1 with the first differences.
"""

import datetime
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import jinja2
import transformers
from tokenizers import Tokenizer, models
from transformers.utils import chat_template_utils

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
RANDOM_CONVERSATIONS = 60
DATE = (2024, 12, 6)
PIECES = ["Hello", "안녕하세요", "세상", " ", "  ", "\n", "\n\n", "\t", "\u00a0", "\u3000", "\u2028", "'", '"', "\\n",
          "\\", "<b>&amp;</b>", "{{ x }}", "{% if %}", "{#", "<think>", "</think>", "<|im_end|>", "[INST]", "😀", "é",
          "ﬁ", "x" * 50, "0", "\x0b", "%", "$", "<tool_response>", "</tool_response>", "한국어 문장입니다.",
          "The quick brown fox.", "```python\nprint('x')\n```"]


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(*DATE)


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def fixed_conversations():
    system, user, model = (message("system", "You are helpful."), message("user", "Hi there!"),
                           message("assistant", "Hello, how can I help?"))
    yield [user]
    yield [system, user]
    yield [user, model]
    yield [system, user, model, message("user", "And now?")]
    yield [system, user, model, message("user", "And now?"), message("assistant", "Now this.")]
    yield [user, user]
    yield [model, user]
    yield [system]
    yield [user, system, model]
    yield [message("user", "  spaces around \n"), message("assistant", "\n\n answer \t"), message("user", "")]
    yield [message("system", ""), user, message("assistant", "<think>\nsteps\n</think>\n\nresult"), user]
    yield [user, message("assistant", "<think>a</think>b"), user, message("assistant", "<think>c</think>d")]
    yield [user, message("assistant", "x", reasoning_content="because")]
    yield [message("user", [{"type": "text", "text": "part one "}, {"type": "text", "text": "둘째 부분"}]), model]
    yield [message("system", [{"type": "text", "text": "sys"}]), user]
    yield [message("user", "한국어로 답해 주세요. \"따옴표\" & <태그>"), message("assistant", "네, 그렇게 하겠습니다.\n줄 바꿈")]
    yield [message("user", "null follows", name=None), message("assistant", "ok", tool_calls=None), user]
    yield [message("developer", "odd role"), user]


def random_conversation(rng):
    conversation = []
    if rng.random() < 0.4:
        conversation.append(message("system", random_text(rng)))
    for turn in range(rng.randrange(1, 9)):
        role = "user" if turn % 2 == 0 else "assistant"
        if rng.random() < 0.05:
            role = rng.choice(["user", "assistant", "system"])
        conversation.append(message(role, random_text(rng)))
    return conversation


def random_text(rng):
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(0, 12)))


def read_templates(paths):
    """{name: source}"""
    found = {}
    for path in map(pathlib.Path, paths):
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.suffix == ".jinja":
                found[file.name] = file.read_text(encoding="utf-8")
            elif file.name == "tokenizer_config.json":
                source = json.loads(file.read_text(encoding="utf-8")).get("chat_template")
                if isinstance(source, str):
                    found[f"{file.parent.name}/{file.name}"] = source
            elif file.suffix == ".gguf":
                found[file.name] = gguf_template(file)
    return found


def gguf_template(path):
    """tokenizer.chat_template of a GGUF file: after its key, a type (8: string), a length, the text."""
    with open(path, "rb") as file:
        head = file.read(16 << 20)
    at = head.index(b"tokenizer.chat_template") + len(b"tokenizer.chat_template")
    kind, length = int.from_bytes(head[at:at + 4], "little"), int.from_bytes(head[at + 4:at + 12], "little")
    assert kind == 8, path
    return head[at + 12:at + 12 + length].decode("utf-8")


def run_ours(binary, requests):
    with tempfile.TemporaryDirectory() as folder:
        asked, given = pathlib.Path(folder, "in"), pathlib.Path(folder, "out")
        asked.write_text("".join(json.dumps(request) + "\n" for request in requests))
        subprocess.run([binary, asked, given], check=True)
        return [json.loads(line) for line in given.read_text(encoding="utf-8").split("\n") if line]


def expected(render):
    """({"text": ...} or {"error": ...})"""
    try:
        return {"text": render()}
    except Exception as error:  # whatever Python raises in a template is a refusal
        return {"error": f"{type(error).__name__}: {error}"}


def chat_cases(templates):
    backend = Tokenizer(models.BPE())
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **TOKENS)
    for name, source in templates.items():
        rng = random.Random(name)
        conversations = list(fixed_conversations()) + [random_conversation(rng) for _ in range(RANDOM_CONVERSATIONS)]
        for conversation in conversations:
            for prompt in (False, True):
                request = {"template": source, "tokens": TOKENS, "messages": conversation, "date": DATE,
                           "add_generation_prompt": prompt}
                yield f"{name} {json.dumps(conversation, ensure_ascii=False)[:300]} prompt={prompt}", request, expected(
                    lambda: tokenizer.apply_chat_template(conversation, chat_template=source, tokenize=False,
                                                          add_generation_prompt=prompt))


def language_cases():
    """chat_cases.jsonl: the variables, then templates that render alike, or that only we refuse."""
    lines = pathlib.Path(__file__).with_name("chat_cases.jsonl").read_text(encoding="utf-8").split("\n")
    variables, *cases = (json.loads(line) for line in lines if line)
    for case in cases:
        source = case.get("equal", case.get("refused"))

        def render(source=source):
            return chat_template_utils._compile_jinja_template(source).render(**variables["variables"])
        yield source, {"jinja": source, **variables, "date": DATE}, (
            expected(render) if "equal" in case else {"error": "by design"})


def compare(cases, ours):
    bad = []
    for (label, _, theirs), mine in zip(cases, ours):
        same = mine == theirs if "text" in theirs else "error" in mine
        if not same:
            bad.append(f"{label}\n  theirs {json.dumps(theirs, ensure_ascii=False)}\n"
                       f"  ours   {json.dumps(mine, ensure_ascii=False)}")
    return bad


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    chat_template_utils.datetime = FixedDate
    templates = read_templates(sys.argv[2:])
    cases = list(chat_cases(templates))
    language = list(language_cases())
    assert jinja2.__version__ >= "3.1.6"
    ours = run_ours(sys.argv[1], [request for _, request, _ in cases + language])
    bad = compare(cases + language, ours)
    refused = sum("error" in theirs for _, _, theirs in cases)
    print(f"{len(templates)} templates, {len(cases)} renderings ({refused} refused by transformers), {len(language)} "
          f"pieces of the language: {len(bad)} differ")
    for text in bad[:20]:
        print(text)
    sys.exit(1 if bad or not templates else 0)


if __name__ == "__main__":
    main()
