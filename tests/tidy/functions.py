"""Length of functions in C++: finds them by counting braces in blanked text."""

import ast
import re

from source import Finding

FUNCTION_LINES = 70

SCOPE = re.compile(r"\b(namespace|class|struct|enum|union)\b[^()=]*$|\bextern\s*$|^\s*$")
CLASS_WITH_CALL = re.compile(r"^\s*(template\s*<.*>\s*)?(class|struct|enum|union)\b")
INITIALISER = re.compile(r"(=|\(|,|\breturn|\{)\s*$")
MEMBER_INITIALISER = re.compile(r"\)[^{};]*:(?!:)[^;]*?[\w>]\s*$", re.DOTALL)
SIGNATURE = re.compile(r"\)[^;=]*$", re.DOTALL)


class Scanner:
    """Walks the text once; `functions` gets (name, first line, last line)."""

    def __init__(self, text):
        self.text = text
        self.functions = []
        self.header_start = 0  # where the text before the next brace begins
        self.depth_in_function = 0

    def line(self, at):
        return self.text.count("\n", 0, at) + 1

    def header(self, at):
        text = re.sub(r"(?m)^[ \t]*#.*(\\\n.*)*$", "", self.text[self.header_start:at])
        return text

    def run(self):
        stack = []  # of (kind, header start, header)
        at = 0
        while at < len(self.text):
            char = self.text[at]
            if char == "{":
                header = self.header(at)
                stack.append((self.kind(header, stack), self.header_start, header))
                if stack[-1][0] != "initialiser":
                    self.header_start = at + 1
            elif char == "}" and stack:
                kind, start, header = stack.pop()
                if kind == "function":
                    self.add(start, header, at)
                if kind != "initialiser":
                    self.header_start = at + 1
            elif char == ";" and not (stack and stack[-1][0] == "initialiser"):
                self.header_start = at + 1
            at += 1
        return self.functions

    @staticmethod
    def kind(header, stack):
        if any(kind == "function" for kind, _, _ in stack):
            return "body"
        if stack and stack[-1][0] == "initialiser" or INITIALISER.search(header):
            return "initialiser"
        if CLASS_WITH_CALL.search(header) or SCOPE.search(header):
            return "scope"
        if MEMBER_INITIALISER.search(header) and not re.search(r"\b(const|override|noexcept|final)\s*$", header):
            return "initialiser"
        return "function" if SIGNATURE.search(header) or ")" in header else "initialiser"

    def add(self, start, header, end):
        names = re.findall(r"([~\w:]+|operator[^\w\s(]+)\s*\(", header)
        first = start + len(self.text[start:]) - len(self.text[start:].lstrip())
        self.functions.append((names[0] if names else "?", self.line(first), self.line(end)))


def python_functions(source):
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno


def check(sources):
    for source in sources:
        if source.is_cpp and source.suffix != ".inc":
            functions = Scanner(source.bare).run()
        elif source.suffix == ".py":
            functions = python_functions(source)
        else:
            continue
        for name, first, last in functions:
            if last - first + 1 > FUNCTION_LINES:
                message = f"{name} has {last - first + 1} lines, more than {FUNCTION_LINES}"
                yield Finding("function-length", source.path, first, message)
