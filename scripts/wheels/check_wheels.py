# SPDX-License-Identifier: Apache-2.0
"""Check what wheels hold: size, tag, licences, and what their libraries show and ask of a loader.

python scripts/wheels/check_wheels.py dist/*.whl
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

LARGEST = 6_000_000  # bytes of a wheel
TAG = re.compile(r"manylinux_2_(\d+)_(?:x86_64|aarch64)")
LICENCES = ("LICENSE", "highway/", "libgomp/")
# Of the system: what manylinux allows, as far as we use it.
SYSTEMS = (
    "ld-linux",
    "libc.",
    "libdl.",
    "libgcc_s.",
    "libm.",
    "libpthread.",
    "librt.",
    "libstdc++.",
)


def readelf(path: Path, *options: str) -> str:
    return subprocess.run(
        ["readelf", "--wide", *options, str(path)], check=True, capture_output=True, text=True
    ).stdout


def faults_of_library(path: Path, beside: set[str]) -> Iterator[str]:
    dynamic = readelf(path, "--dynamic")
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    for name in needed:
        if not name.startswith(SYSTEMS) and name not in beside:
            yield f"needs {name}, which is neither the system's nor in the wheel"
    for searched in re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic):
        if not all(part.startswith("$ORIGIN") for part in searched.split(":")):
            yield f"is told to look for libraries in {searched}"
    (stack,) = re.findall(r"GNU_STACK\s.*?\s([RWE ]{3}) ", readelf(path, "--program-headers"))
    if "E" in stack:
        yield "wants an executable stack"
    if path.name.startswith("_core."):
        rows = (line.split() for line in readelf(path, "--dyn-syms").splitlines())
        shown = {
            row[7].split("@")[0]
            for row in rows
            if len(row) > 7 and row[4] in {"GLOBAL", "WEAK"} and row[6] != "UND"
        }
        if shown != {"PyInit__core"}:
            yield f"shows {len(shown)} symbols, expected PyInit__core only: {sorted(shown)[:5]}"


def faults(path: Path, glibc: int) -> Iterator[str]:
    """Whatever is wrong with a wheel, a line each."""
    if path.stat().st_size > LARGEST:
        yield f"{path.stat().st_size:,} bytes, at most {LARGEST:,}"
    if min(map(int, TAG.findall(path.name)), default=99) > glibc:
        yield f"is not for glibc 2.{glibc}"
    with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as folder:
        names = wheel.namelist()
        for licence in LICENCES:
            if not any(f".dist-info/licenses/{licence}" in name for name in names):
                yield f"has no licenses/{licence}"
        libraries = [name for name in names if re.search(r"\.so(\.|$)", name)]
        if not any(Path(name).name.startswith("_core.") for name in libraries):
            yield "has no module _core"
        for name in libraries:
            found = faults_of_library(
                Path(wheel.extract(name, folder)), {Path(x).name for x in libraries}
            )
            yield from (f"{name} {fault}" for fault in found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("--oldest-glibc", default="2_28", help="that they must run with")
    options = parser.parse_args()
    failed = False
    for path in options.wheels:
        print(f"{path.stat().st_size / 1e6:.2f} MB  {path.name}")
        for fault in faults(path, int(options.oldest_glibc.split("_")[1])):
            failed = True
            print(f"    {fault}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
