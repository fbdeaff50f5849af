#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs wheels from dist/ where there is neither a compiler nor anything of this checkout, and tests
# them: those for x86-64 with the quick part of the suite, those for aarch64 under qemu.
#
#   scripts/wheels/test.sh <x86_64|aarch64> [version]...
#
#   DIGEST=1    print tests/digest.py's lines of each wheel into build/wheels/digest-*.txt, too
#   QEMU=path   the emulator, else qemu-aarch64-static (CPython 3.14 stalls in 7.2, not in 10)
set -euo pipefail
cd "$(dirname "$0")/../.."

machine=$1
shift
work=$PWD/build/wheels
pip=(python3 -m pip --disable-pip-version-check -q)
[ ! -x "$work/tools/bin/pip" ] || pip=("$work/tools/bin/pip" --disable-pip-version-check -q)
quick=(tests/ops tests/optimizers/test_keras_golden.py tests/state/test_golden_state.py
    tests/library/test_targets.py tests/library/test_choices.py)
# Under emulation, a test takes many times as long.
emulated=(tests/ops/test_golden.py tests/ops/test_codec.py tests/ops/test_pow.py tests/ops/test_dense.py
    tests/optimizers/test_keras_golden.py tests/state/test_golden_state.py tests/library/test_targets.py)
mkdir -p "$work"
python3 scripts/requirements.py test >"$work/requirements-test.txt"
# (Hypothesis warns on CPython 3.14 of generators of random numbers that it did not make itself.)
pytest=(-m pytest -q -p no:cacheprovider -W ignore::hypothesis.errors.HypothesisWarning)

import_time='
import time, numpy
start = time.perf_counter()
import slotwise
print(round((time.perf_counter() - start) * 1000))'

test_here() {
    local version=$1 wheel=$2 venv=$work/test-$1 python
    python=$(scripts/wheels/python.sh "$version" x86_64) || exit 1
    rm -rf "$venv"
    "$python" -m venv --without-pip "$venv"
    "${pip[@]}" --python "$venv/bin/python" install "$wheel" -r "$work/requirements-test.txt"
    run=(env -i HOME="$HOME" LANG=C.UTF-8 PATH="$venv/bin" OMP_WAIT_POLICY=passive python)
    if "${run[@]}" -c 'import shutil, sys; sys.exit(not any(map(shutil.which, ("cc", "g++", "ld"))))'; then
        echo "A compiler is on the path" >&2
        exit 1
    fi
    for _ in 1 2 3 4 5; do "${run[@]}" -c "$import_time"; done | sort -n |
        sed -n '1s/.*/import slotwise: & ms beside NumPy/p'
    "${run[@]}" -c 'import slotwise; print(slotwise.__file__); slotwise.show_config()'
    "${run[@]}" "${pytest[@]}" "${quick[@]}"
}

test_emulated() {
    local version=$1 wheel=$2 site=$work/site-$1-aarch64 root=$work/python-$1-aarch64 python
    python=$(scripts/wheels/python.sh "$version" aarch64) || return 0  # says that there is none
    rm -rf "$site"
    "${pip[@]}" install --target "$site" --python-version "$version" --implementation cp \
        --only-binary=:all: --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux_2_26_aarch64 --platform manylinux2014_aarch64 \
        "$wheel" -r "$work/requirements-test.txt"
    # What tests start as sys.executable is emulated, too, also where the system does not see to it.
    printf '#!/bin/sh\nexec "%s" -L "%s" "%s" "$@"\n' "${QEMU:-qemu-aarch64-static}" "$root" \
        "$python" >"$site/python"
    chmod +x "$site/python"
    printf 'import sys\n\nsys.executable = "%s"\n' "$site/python" >"$site/sitecustomize.py"
    run=(env PYTHONPATH="$site" PYTHONDONTWRITEBYTECODE=1 "$site/python")
    "${run[@]}" -c 'import slotwise; print(slotwise.__file__); slotwise.show_config()'
    "${run[@]}" "${pytest[@]}" "${emulated[@]}"
}

versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(3.10 3.11 3.12 3.13 3.14)
for version in "${versions[@]}"; do
    run=()
    wheel=$(ls dist/*"-cp${version/./}-"*"$machine.whl")
    printf '\n=== %s\n' "$wheel"
    if [ "$machine" = "$(uname -m)" ]; then
        test_here "$version" "$wheel"
    else
        test_emulated "$version" "$wheel"
    fi
    if [ -n "${DIGEST:-}" ] && [ ${#run[@]} -gt 0 ]; then
        "${run[@]}" -c 'import runpy, sys
sys.path.insert(0, "tests")
runpy.run_path("tests/digest.py", run_name="__main__")' >"$work/digest-$version-$machine.txt"
    fi
done
