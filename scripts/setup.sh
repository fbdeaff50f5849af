#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks what a build needs from the system and installs what is missing with apt.
# That is Python >= 3.10 with venv and headers, g++ and Highway.
#
# CMake is not in the list: pip brings it into the build if the system has none that is new enough.
set -euo pipefail

python=${PYTHON:-python3}
missing=()  # apt packages

have() { command -v "$1" >/dev/null 2>&1; }

has_highway() {  # a source distribution brings it along
    [ -d third_party/highway ] || "${CXX:-g++}" -std=c++17 -x c++ -fsyntax-only - \
        <<<'#include <hwy/highway.h>' >/dev/null 2>&1
}

check() {
    missing=()
    if ! have "$python"; then
        missing+=(python3 python3-venv python3-dev)
    elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        echo "$("$python" --version) is too old: slotwise needs Python 3.10 or newer." >&2
        echo "Name another one with: make PYTHON=python3.12 ..." >&2
        exit 1
    else
        "$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
        [ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ||
            missing+=(python3-dev)
    fi
    have "${CXX:-g++}" || missing+=(g++)
    has_highway || missing+=(libhwy-dev)
}

install() {
    local sudo=()
    if ! have apt-get; then
        return 1
    elif [ "$(id -u)" != 0 ]; then
        have sudo || return 1
        sudo=(sudo)
        [ -t 0 ] || sudo+=(-n)  # nobody there to type a password
    fi
    echo "Installing with apt: ${missing[*]}"
    local get=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
    # An old package list may name files that are gone; a failure here shows in the next line.
    "${get[@]}" update || true
    "${get[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

check
[ ${#missing[@]} -gt 0 ] || exit 0
install || true
check
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "${missing[*]}" = libhwy-dev ]; then
    echo "No Highway headers found: the build downloads and compiles a pinned release instead." >&2
    if have git; then exit 0; fi
    missing+=(git)
fi
echo "Missing, and could not be installed from here: ${missing[*]}" >&2
if have apt-get; then
    echo "Run this as an administrator, then try again:" >&2
    echo "    apt-get update && apt-get install -y ${missing[*]}" >&2
else
    echo "Install what these Debian packages hold with your system's package manager." >&2
fi
exit 1
