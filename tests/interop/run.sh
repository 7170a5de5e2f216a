#!/usr/bin/env bash
# Runs one script of this folder with the Python environment that ./scripts/test makes; ctest calls it.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: run.sh [--module NAME]... [--file PATH]... SCRIPT.py [argument...]

Exit status 77 (ctest: skipped), saying why, when there is no Python environment, when it lacks a module NAME, or when a
file or folder PATH is missing. GRIDQUANT_INTEROP_PYTHON names another interpreter than .venv/interop's.
USAGE
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="${GRIDQUANT_INTEROP_PYTHON:-$here/../../.venv/interop/bin/python}"

skip() {
  printf 'SKIPPED: %s\n' "$*"
  exit 77
}

modules=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      usage
      exit 0
      ;;
    --module)
      modules+=("$2")
      shift 2
      ;;
    --file)
      [ -e "$2" ] || skip "$2 is not there"
      shift 2
      ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || {
  usage >&2
  exit 2
}
[ -x "$python" ] || skip "no Python environment .venv/interop: run ./scripts/test where PyPI can be reached"
for module in "${modules[@]}"; do
  "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$module') is None)" ||
    skip "the Python environment has no $module: run ./scripts/test --interop"
done
export PYTHONDONTWRITEBYTECODE=1
cd "$here"
exec "$python" "$@"
