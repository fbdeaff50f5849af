# SPDX-License-Identifier: Apache-2.0
"""Calls with odd arguments: done, or refused in our words, which changes nothing.

A process of its own makes them, so that a crash is reported with the call that crashed.
"""

from __future__ import annotations

import os
from pathlib import Path

from support.process import program

CALLS = int(os.environ.get("SLOTWISE_FUZZ_CALLS", "2000"))
SEED = int(os.environ.get("SLOTWISE_FUZZ_SEED", "0"))


def test_odd_arguments(tmp_path: Path) -> None:
    done = program("fuzz_calls", SEED, CALLS, tmp_path)
    last = (tmp_path / "number").read_text().strip()
    assert done.returncode == 0, (
        f"seed {SEED}, code {done.returncode}, last call {last}\n{done.stdout}{done.stderr}"
    )
