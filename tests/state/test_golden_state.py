"""State files of earlier versions are read, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import slotwise
from golden.state_contents import FOLDER, ROWS, Job


def check_loaded(trained: Job, *paths):
    fresh = Job()
    for variable in fresh.variables:
        variable.assign(np.zeros(variable.shape))
    base, *deltas = paths
    state = slotwise.load(base, deltas=deltas, optimizer=fresh.optimizer, variables=fresh.variables)
    assert state.extra == trained.extra
    for a, b in zip(fresh.variables, trained.variables, strict=True):
        assert a.value.tobytes() == b.value.tobytes()
    got, want = fresh.optimizer.state_dict(), trained.optimizer.state_dict()
    assert got.pop("config") == want.pop("config") == state.config
    assert got.keys() == want.keys()
    for name, x in want.items():
        assert got[name].tobytes() == np.asarray(x).tobytes(), name


@pytest.mark.parametrize("name", ["adam.safetensors", "adam"])
def test_checkpoint(name):
    job = Job()
    job.train()
    check_loaded(job, FOLDER / name)
    state = slotwise.load(FOLDER / name, optimizer="saved", variables=job.variables)
    assert int(state.optimizer.iterations) == 4


def test_delta():
    job = Job()
    job.train()
    job.train_rows()
    check_loaded(job, FOLDER / "adam", FOLDER / "delta.safetensors")
    rows = slotwise.load_array(FOLDER / "delta.safetensors", "v0@rows")
    assert rows.tolist() == ROWS.tolist()
