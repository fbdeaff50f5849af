#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the wheel into build/wheel, and shows how far the compiler is.
#
#   scripts/wheel.sh <python>
set -euo pipefail

log=build/wheel.log
rm -rf build/wheel
mkdir -p build/wheel
echo "Building slotwise: a compiler takes about 4 minutes on two cores, less where there are more."
started=$SECONDS
if ! "$1" -m pip --disable-pip-version-check -v wheel --no-deps -w build/wheel . </dev/null 2>&1 |
    tee "$log" |
    sed -un -e 's/^ *\(\[[0-9]*\/[0-9]*\]\) .*csrc\/\(.*\.cc\)\.o$/  \1 \2/p' \
        -e 's/^ *\(\[[0-9]*\/[0-9]*\] Linking\) .*/  \1/p'; then
    tail -n 40 "$log" >&2
    echo "The build failed; all that the compiler said is in $log" >&2
    exit 1
fi
echo "Built in $((SECONDS - started)) s: $(echo build/wheel/*.whl)"
