"""Calls with odd arguments: done, or refused in our words, which changes nothing.

A process of its own makes them, so that a crash is reported with the call that crashed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CALLS = int(os.environ.get("SLOTWISE_FUZZ_CALLS", "2000"))
SEED = int(os.environ.get("SLOTWISE_FUZZ_SEED", "0"))
SCRIPT = Path(__file__).parent / "fuzz_calls.py"


def test_odd_arguments(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, str(SEED), str(CALLS), tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    last = (tmp_path / "number").read_text().strip()
    assert done.returncode == 0, (
        f"seed {SEED}, code {done.returncode}, last call {last}\n{done.stdout}{done.stderr}"
    )
