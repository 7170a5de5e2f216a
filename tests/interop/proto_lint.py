"""The protocol passes buf's STANDARD and COMMENTS rules, and what does not is seen. Usage: proto_lint.py TREE"""

import os
import shutil
import subprocess
import sys
import tempfile

BUF = os.path.join(os.path.dirname(sys.executable), "buf")


def lint(tree):
    done = subprocess.run([BUF, "lint"], cwd=tree, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def main():
    status, said = lint(sys.argv[1])
    if status != 0:
        sys.exit(said)
    with tempfile.TemporaryDirectory() as copy:
        shutil.copy(os.path.join(sys.argv[1], "buf.yaml"), copy)
        shutil.copytree(os.path.join(sys.argv[1], "proto"), os.path.join(copy, "proto"))
        with open(os.path.join(copy, "proto/gridquant/v1/error.proto"), "a", encoding="utf-8") as file:
            file.write("message Planted { string BadName = 1; }\n")
        status, said = lint(copy)
        if status == 0 or "BadName" not in said:
            sys.exit("buf lint does not see a planted violation:\n" + said)
    print("the protocol is clean")


if __name__ == "__main__":
    main()
