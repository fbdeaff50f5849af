#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Unpacks packages of a Debian release, with all that they depend on, into a folder. Nothing in there
# is run or configured: it serves as a sysroot, or to run a program from.
#
#   scripts/wheels/unpack.sh <suite> <x86_64|aarch64> <folder> <package>...
set -euo pipefail

suite=$1 machine=$2 folder=$3
shift 3
case $machine in
    x86_64) arch=amd64 ;;
    aarch64) arch=arm64 ;;
    *)
        echo "expected x86_64 or aarch64, got $machine" >&2
        exit 1
        ;;
esac
[ ! -e "$folder/.unpacked" ] || exit 0

# From wherever this machine has its own packages.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
# Lists of a mirror that lags behind may have expired; what they list is signed all the same.
mmdebstrap --quiet --variant=extract --arch="$arch" --include="$(IFS=, && echo "$*")" \
    --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$folder" "$mirror"
# A link to /lib is meant to stay inside.
cd "$folder"
[ -e lib ] || ln -s usr/lib lib  # of newer releases, whose installer makes it
[ -e lib64 ] || [ ! -e usr/lib64 ] || ln -s usr/lib64 lib64
find . -type l -lname '/*' | while read -r link; do
    ln -snf "$(realpath -ms --relative-to="$(dirname "$link")" ".$(readlink "$link")")" "$link"
done
touch .unpacked
