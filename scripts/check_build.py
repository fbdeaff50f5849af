# SPDX-License-Identifier: Apache-2.0
"""Check what a build costs, and that its wheel brings along what it needs.

The costs are the size of the module and the time that its slowest file compiles.

python scripts/check_build.py [build folder]

Times are shares of the whole build, which machines have in common.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LARGEST = 6_000_000  # bytes of _core, with all instruction sets
LONGEST = 0.12  # of the time that all files take together
SYSTEMS = ("ld-linux", "libc.", "libgcc_s.", "libgomp.", "libm.", "libstdc++.")


def module(wheel: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The extension module in a wheel, where it is stripped."""
    (found,) = (x for x in wheel.infolist() if re.search(r"/_core\..*so$", x.filename))
    return found


def missing_libraries(wheel: zipfile.ZipFile) -> set[str]:
    """What the module links to that is neither the system's nor beside it."""
    with tempfile.TemporaryDirectory() as folder:
        path = wheel.extract(module(wheel), folder)
        headers = subprocess.run(
            ["readelf", "-d", path], check=True, capture_output=True, text=True
        ).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", headers)
    if not needed:
        raise ValueError("expected libraries in readelf's output, got none")
    beside = {Path(name).name for name in wheel.namelist()}
    return {x for x in needed if not x.startswith(SYSTEMS) and x not in beside}


def compile_times(log: Path) -> dict[str, float]:
    """Seconds by object file, of the latest time that it was compiled."""
    lines = [line.split("\t") for line in log.read_text().splitlines() if line[0] != "#"]
    return {
        target: (int(end) - int(start)) / 1000
        for start, end, _, target, _ in lines
        if target.endswith((".o", ".gch"))
    }


def main() -> int:
    build = Path(sys.argv[1] if len(sys.argv) > 1 else "build")
    (path,) = build.glob("wheel/*.whl")
    logs = sorted(build.glob("cp*/.ninja_log"), key=lambda path: path.stat().st_mtime)
    with zipfile.ZipFile(path) as wheel:
        size, missing = module(wheel).file_size, missing_libraries(wheel)
    times = compile_times(logs[-1])
    slowest = max(times, key=lambda name: times[name])
    share = times[slowest] / sum(times.values())
    print(f"_core: {size / 1e6:.1f} MB, at most {LARGEST / 1e6:.1f}")
    print(
        f"{len(times)} files compiled in {sum(times.values()):.0f} s of a core; the slowest is "
        f"{slowest.split('.dir/')[-1]}, {times[slowest]:.0f} s: {share:.0%}, at most {LONGEST:.0%}"
    )
    if missing:
        print(f"The wheel fails where these are not installed: {', '.join(sorted(missing))}")
    return int(size > LARGEST or share > LONGEST or bool(missing))


if __name__ == "__main__":
    sys.exit(main())
