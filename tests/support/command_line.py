# SPDX-License-Identifier: Apache-2.0
"""The command line, run as a user would; and checkpoints to run it on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import slotwise
from slotwise import optimizers

COMMAND = [sys.executable, "-m", "slotwise"]
ENVIRONMENT = {**os.environ, "COLUMNS": "80", "TF_CPP_MIN_LOG_LEVEL": "3"}
ROWS = [3, 7]


def run(
    *arguments: object, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, with more in its environment."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        check=False,
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def done(*arguments: object, folder: Path | None = None) -> str:
    """Run it, and expect that it is done and complains of nothing."""
    found = run(*arguments, folder=folder)
    assert (found.returncode, found.stderr) == (0, "")
    return found.stdout


def refused(code: int, *arguments: object, folder: Path | None = None) -> str:
    """Run it, and expect one line of an error and nothing else."""
    found = run(*arguments, folder=folder)
    assert found.returncode == code, found.stderr
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert line.startswith("slotwise: ")
    return line.removeprefix("slotwise: ")


def training(folder: Path) -> None:
    """A run in a folder: ``base``, two deltas, and what they make, in one file: ``whole``."""
    emb = slotwise.Variable(np.ones((20, 4), np.float32), name="emb")
    w = slotwise.Variable(np.ones(3, ml_dtypes.bfloat16), name="w")
    slotwise.track(emb)
    opt = optimizers.SGD(0.5, momentum=0.5, sparse="lazy")
    rows = slotwise.IndexedSlices(np.ones((2, 4), np.float32), np.array(ROWS), emb.shape)

    def step(epoch: int) -> dict[str, Any]:
        opt.apply_gradients([(rows, emb), (np.ones(3, ml_dtypes.bfloat16), w)])
        return {"optimizer": opt, "variables": [emb, w], "extra": {"epoch": epoch}}

    slotwise.save(folder / "base", **step(1))
    slotwise.save_delta(folder / "delta-1", since=folder / "base", **step(2))
    slotwise.save_delta(folder / "delta-2", since=folder / "delta-1", **step(3))
    kept = {"optimizer": opt, "variables": [emb, w], "extra": {"epoch": 3}}
    slotwise.save(folder / "whole.safetensors", **kept)
