#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Says where a CPython is, with headers: the system's, pyenv's, or one unpacked from Debian's packages.
#
#   scripts/wheels/python.sh <version> <x86_64|aarch64>
#
# One for aarch64 runs under qemu: qemu-aarch64-static -L build/wheels/python-3.11-aarch64 <it>
set -euo pipefail

version=$1 machine=$2
root=$PWD/build/wheels/python-$version-$machine

has_headers() {
    "$1" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null
}

if [ "$machine" = x86_64 ]; then
    for python in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
        if has_headers "$python"; then
            command -v "$python"
            exit 0
        fi
    done
fi

case $version in  # which Debian has it
    3.11) suite=bookworm ;;
    3.13) suite=trixie ;;
    3.14) suite=forky ;;
    *)
        echo "No CPython $version for $machine here, and none in Debian." >&2
        exit 1
        ;;
esac
scripts/wheels/unpack.sh "$suite" "$machine" "$root" "python$version" "python$version-venv" \
    "libpython$version-dev" libstdc++6 >&2
python=$root/usr/bin/python$version
# Its Python.h asks for <triplet/python3.x/pyconfig.h>, which lies beside its folder. That of another
# machine differs in macros that no other header uses.
for triplet in x86_64-linux-gnu aarch64-linux-gnu; do
    mkdir -p "$root/usr/include/python$version/$triplet"
    ln -sfn "../../$machine-linux-gnu/python$version" "$root/usr/include/python$version/$triplet/"
done
# With the libraries that it was unpacked with: it may need newer ones than the system's.
if [ "$machine" = x86_64 ] && ! has_headers "$python"; then
    patchelf --set-interpreter "$root/usr/lib64/ld-linux-x86-64.so.2" \
        --force-rpath --set-rpath "$root/usr/lib/x86_64-linux-gnu" "$python"
fi
echo "$python"
