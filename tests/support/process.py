# SPDX-License-Identifier: Apache-2.0
"""Code that runs in an interpreter of its own, and whether processes still run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

# A save in the background is a fork's work. Elsewhere it is one in the foreground, with a warning:
# test_manager.py tests that on every system.
needs_snapshots = pytest.mark.skipif(
    sys.platform != "linux", reason=f"only Linux has saves in the background, not {sys.platform}"
)

TESTS = Path(__file__).parents[1]
_OURS = ("SLOTWISE_TARGET", "SLOTWISE_NUM_THREADS", "OMP_NUM_THREADS")


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code without our environment variables, except those that are given."""
    env = {name: value for name, value in os.environ.items() if name not in _OURS}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, check=False, env={**env, **environment}, capture_output=True, text=True, timeout=60
    )


def program(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``support/<name>.py``."""
    command = [sys.executable, "-m", f"support.{name}", *map(str, arguments)]
    return subprocess.run(command, check=False, cwd=TESTS, capture_output=True, text=True)


def runs(process: int) -> bool:
    """Whether it runs; a dead one that nobody has waited for does not."""
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def gone(processes: Sequence[int]) -> bool:
    """Whether they end within some seconds."""
    end = time.monotonic() + 20
    while any(map(runs, processes)) and time.monotonic() < end:
        time.sleep(0.01)
    return not any(map(runs, processes))
