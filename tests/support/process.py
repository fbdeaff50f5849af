# SPDX-License-Identifier: Apache-2.0
"""Code that runs in an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
