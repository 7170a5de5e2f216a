"""The test of the tree: layers, lengths, bans, lists. Prints file:line of every violation; fails if there is one."""

import sys
from pathlib import Path

import functions
import layers
import rules
from source import read_tree

CHECKS = (layers.check, layers.check_links, functions.check, rules.check_lengths, rules.check_bans, rules.check_heads,
          rules.check_listed, rules.check_ops)


def findings_in(root):
    sources = read_tree(root)
    found = [finding for check in CHECKS for finding in check(sources)]
    return sources, sorted(found, key=lambda f: (f.path, f.line, f.rule))


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    sources, found = findings_in(root)
    for finding in found:
        print(finding)
    code = sorted(len(source.lines) for source in sources if source.is_cpp)
    median = code[len(code) // 2] if code else 0
    print(f"{len(sources)} files, {len(found)} violations; C++: {len(code)} files, median {median} lines")
    return 1 if found or not code else 0


if __name__ == "__main__":
    sys.exit(main())
