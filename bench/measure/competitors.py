# SPDX-License-Identifier: Apache-2.0
"""Processes that keep cores busy, to measure beside them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

# Ends within milliseconds of its parent, however that dies, and after two minutes in any case.
_SPIN = """
import os, sys, time
parent, core = int(sys.argv[1]), int(sys.argv[2])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
print("busy", flush=True)
end = time.monotonic() + 120
while os.getppid() == parent and time.monotonic() < end:
    for _ in range(100_000):
        pass
"""


def usable_cores() -> list[int]:
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def competitors(cores: Sequence[int]) -> Iterator[list[int]]:
    """One busy process per core while the block runs; gives their ids.

    Raises:
        RuntimeError: one of them ended before the block did, so it was measured beside nothing.
    """
    started: list[subprocess.Popen[str]] = []
    try:
        for core in cores:
            command = [sys.executable, "-I", "-S", "-c", _SPIN, str(os.getpid()), str(core)]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()  # it is busy from now on
        yield [process.pid for process in started]
        if any(process.poll() is not None for process in started):
            raise RuntimeError("a competing process ended early")
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.communicate()
