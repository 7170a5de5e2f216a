"""What the rules see of the tree: its files, and C++ with comments and literals blanked out (same lines, same columns).

Not a parser: right for code in this tree's clang-format style, which is what it is used on.
"""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SKIPPED_FOLDERS = {".git", "build", "out", ".venv", ".gridquant", "__pycache__", "results", ".cache"}
CPP = {".cc", ".h", ".cu", ".inc"}


@dataclass(frozen=True)
class Finding:
    rule: str
    path: str
    line: int
    message: str

    def __str__(self):
        return f"{self.path}:{self.line}: [{self.rule}] {self.message}"


@dataclass
class Source:
    path: str  # from the tree's root, with forward slashes
    text: str

    @property
    def suffix(self):
        return Path(self.path).suffix

    @property
    def folder(self):
        return os.path.dirname(self.path)

    @property
    def is_cpp(self):
        return self.suffix in CPP or self.path.endswith(".cc.in")

    @property
    def is_code(self):
        name = os.path.basename(self.path)
        return (self.is_cpp or self.suffix in {".py", ".sh", ".cmake"} or name == "CMakeLists.txt"
                or self.text.startswith("#!/"))

    @cached_property
    def lines(self):
        return self.text.splitlines()

    @cached_property
    def bare(self):
        return blank_cpp(self.text) if self.is_cpp else self.text

    def find(self, pattern, bare=True):
        """(line number, match) of every match of a compiled pattern."""
        text = self.bare if bare else self.text
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, match


LITERALS = re.compile(
    r'//[^\n]*'
    r'|/\*.*?\*/'
    r'|R"(?P<tag>[^(\s\\]{0,16})\(.*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",
    re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def blank_cpp(text):
    def blank(match):
        line_start = text.rfind("\n", 0, match.start()) + 1
        if INCLUDE.match(text, line_start):
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())

    return LITERALS.sub(blank, text)


def read_tree(root):
    sources = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(d for d in subfolders if d not in SKIPPED_FOLDERS)
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.islink(path) or os.path.getsize(path) > 2_000_000:
                continue
            try:
                with open(path, encoding="utf-8") as file:
                    text = file.read()
            except UnicodeDecodeError:
                continue  # weights and images
            sources.append(Source(os.path.relpath(path, root).replace(os.sep, "/"), text))
    return sources
