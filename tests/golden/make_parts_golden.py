# SPDX-License-Identifier: Apache-2.0
"""Writes a folder of version 2, and a delta of it, that every later version must read.

    python tests/golden/make_parts_golden.py

Never run it again once the format has been released: add a folder for the new one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import slotwise
from slotwise import distributed
from support.spread import chunk_of, scattered

FOLDER = Path(__file__).parent / "state-2"
ROWS = [3, 7, 45]


def wholes() -> dict[str, np.ndarray]:
    """What is in the folder."""
    return {
        "emb": np.arange(150, dtype=np.float32).reshape(50, 3),
        "w": np.arange(4.0),
        "chunks": np.arange(30, dtype=np.float16).reshape(5, 6),
    }


def changed() -> dict[str, np.ndarray]:
    """The same after the delta."""
    found = wholes()
    found["emb"][ROWS] *= -1
    found["w"] += 1
    return found


def save(comm: Any) -> None:
    whole = wholes()
    emb, w = scattered(comm, whole["emb"]), slotwise.Variable(whole["w"], name="w")
    state = {"emb": emb, "w": w, "chunks": chunk_of(comm, whole["chunks"])}
    touched = slotwise.track(emb)
    slotwise.save(FOLDER / "base", variables=state, extra={"epoch": 3})
    own = np.flatnonzero(np.isin(emb.rows, ROWS))
    emb.local.value[own] *= -1
    touched.mark(own)
    w.assign_add(np.ones(4))
    slotwise.save_delta(FOLDER / "delta", since=FOLDER / "base", variables=state)


if __name__ == "__main__":
    FOLDER.mkdir()
    distributed.in_threads(3, save)
