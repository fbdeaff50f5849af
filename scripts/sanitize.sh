#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests on a build with sanitizers: scripts/sanitize.sh asan-ubsan|tsan [pytest arguments]
#
# The project is installed, built by the CMake preset of that name, into .venv-<preset>, which also
# gets a python with the sanitizer's runtime linked in.
#
# TSan watches memory accesses of up to 16 bytes only, so kernels run there on a target with vectors no
# wider. What counts as proven is shown first: that correct programs get no report, and that wrong ones
# do.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:?asan-ubsan or tsan}
shift
venv=.venv-$preset
build=build/$preset
python=$venv/bin/python-$preset
run=(env)  # what starts the programs below
mkdir -p "$build"

case $preset in
asan-ubsan)
    flags=(-fsanitize=address,undefined)
    # The best target of this machine and the fallback: each takes minutes to compile.
    left_out='HWY_SSE4;HWY_AVX3'
    if grep -qsw avx512dq /proc/cpuinfo; then left_out='HWY_SSE4;HWY_AVX2'; fi
    # CPython keeps memory until the process ends; leaks of ours would drown in that.
    export ASAN_OPTIONS=detect_leaks=0:strict_init_order=1:allocator_may_return_null=1:exitcode=66
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    ;;
tsan)
    flags=(-fsanitize=thread)
    left_out='HWY_AVX2;HWY_AVX3'
    # libpython and NumPy are not instrumented: what they do to memory is not judged.
    # A forked child has one thread, and slotwise starts no other there.
    # Halting at the first race: a racy loop would take minutes to report each element.
    export TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1:exitcode=66:die_after_fork=0
    TSAN_OPTIONS+=:allocator_may_return_null=1

    # TSan's shadow memory does not fit every layout that address randomisation can give.
    if setarch -R true 2>/dev/null; then run=(setarch -R); fi

    if [ "$(uname -m)" = x86_64 ]; then export SLOTWISE_TARGET=SSE4; fi

    # TSan keeps four bytes for each: of an array of 4.3 GB, that is more than most machines have.
    set -- --deselect tests/ops/test_large.py::test_more_than_2_to_the_31_elements "$@"
    ;;
*)
    echo "no such preset: $preset" >&2
    exit 2
    ;;
esac

[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
config() { "$venv/bin/python" -c "import sysconfig; print(sysconfig.get_$1)"; }

libdir=$(config 'config_var("LIBDIR")')
"${CC:-gcc}" -g -O1 "${flags[@]}" -I"$(config 'path("include")')" scripts/sanitized_python.c -rdynamic \
    -L"$libdir" -L"$(config 'config_var("LIBPL")')" -Wl,-rpath,"$libdir" \
    -lpython"$(config 'config_var("LDVERSION")')" -o "$python"

pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
rm -rf "$build/wheel"
# -O1 and short debug information: at -O2 -g these builds take several times as long.
"${pip[@]}" wheel --no-deps -w "$build/wheel" . -C build-dir="$build/cmake" \
    -C cmake.args=--preset="$preset" -C cmake.build-type=RelWithDebInfo -C install.strip=false \
    -C cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" \
    -C cmake.define.SLOTWISE_LEAVE_OUT="$left_out"
"${pip[@]}" install --force-reinstall --no-deps "$build"/wheel/*.whl
"${pip[@]}" install "$(echo "$build"/wheel/*.whl)[test,bench]"

expect() {  # expect <exit status> <what> <command...>
    local want=$1 what=$2 got=0
    shift 2
    "${run[@]}" "$@" >"$build/proof.log" 2>&1 || got=$?
    if [ "$got" != "$want" ]; then
        cat "$build/proof.log"
        echo "Proof failed: $what (exit status $got, expected $want)" >&2
        exit 1
    fi
    echo "Proof: $what"
}
case $preset in
asan-ubsan)
    expect 0 "an update up to the end of an array gets no report" \
        "$python" scripts/sanitizer_proof.py inside
    expect 66 "one past it is reported" "$python" scripts/sanitizer_proof.py outside
    ;;
tsan)
    expect 0 "calls that lock get no report" "$python" scripts/sanitizer_proof.py locked
    expect 66 "those that do not are reported" "$python" scripts/sanitizer_proof.py unlocked
    ;;
esac

# pytest swallows what the sanitizers print, so they write to files.
rm -f "$build"/report.*
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:log_path=$PWD/$build/report
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-}:log_path=$PWD/$build/report
export TSAN_OPTIONS=${TSAN_OPTIONS:-}:log_path=$PWD/$build/report

echo "Testing with $preset"
status=0
"${run[@]}" "$python" -m pytest -n auto --dist worksteal "$@" || status=$?
for report in "$build"/report.*; do
    # (They also tell of memory that was refused, which is well.)
    grep -qsE 'ERROR: |runtime error: |WARNING: ThreadSanitizer: ' "$report" || continue
    status=1
    cat "$report"
done
exit $status
