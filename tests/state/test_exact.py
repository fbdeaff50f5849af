# SPDX-License-Identifier: Apache-2.0
"""Steps, save, load in a new process, more steps: to the bit what steps without a stop give."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from support import state_runs as runs
from support.cases import in_rows
from support.process import program

RUNS = list(runs.runs())


@pytest.fixture(scope="module")
def folder() -> Iterator[Any]:
    memory = "/dev/shm"  # hundreds of syncs take long on a disk
    path = tempfile.mkdtemp(dir=memory if os.path.isdir(memory) else None)
    for step in ("begin", "go on"):
        done = program("state_runs", step, path)
        assert done.returncode == 0, done.stderr
    yield Path(path)
    shutil.rmtree(path)


@in_rows(run=RUNS)
def test_goes_on_exactly(folder: Any, run: Any) -> None:
    opt, variables = run.optimizer(False), run.variables()
    run.steps(opt, variables, range(2 * runs.STEPS))
    found = slotwise.load(folder / f"{run.name}.whole.safetensors").arrays
    expected = {**variables, **opt.state_dict()}
    del expected["config"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        array = np.asarray(value)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes(), name
