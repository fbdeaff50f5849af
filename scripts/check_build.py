"""Check what a build costs: the size of the module, and how long its slowest file compiles.

python scripts/check_build.py [build folder]

Times are shares of the whole build, which machines have in common.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

LARGEST = 6_000_000  # bytes of _core, with all instruction sets
LONGEST = 0.12  # of the time that all files take together


def module_size(wheel: Path) -> int:
    """Bytes of the extension module in a wheel, where it is stripped."""
    with zipfile.ZipFile(wheel) as file:
        (found,) = [
            x.file_size for x in file.infolist() if "/_core." in x.filename and ".so" in x.filename
        ]
    return found


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
    (wheel,) = build.glob("wheel/*.whl")
    logs = sorted(build.glob("cp*/.ninja_log"), key=lambda path: path.stat().st_mtime)
    size, times = module_size(wheel), compile_times(logs[-1])
    slowest = max(times, key=lambda name: times[name])
    share = times[slowest] / sum(times.values())
    print(f"_core: {size / 1e6:.1f} MB, at most {LARGEST / 1e6:.1f}")
    print(
        f"{len(times)} files compiled in {sum(times.values()):.0f} s of a core; the slowest is "
        f"{slowest.split('.dir/')[-1]}, {times[slowest]:.0f} s: {share:.0%}, at most {LONGEST:.0%}"
    )
    return int(size > LARGEST or share > LONGEST)


if __name__ == "__main__":
    sys.exit(main())
