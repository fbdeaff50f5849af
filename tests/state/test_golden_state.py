# SPDX-License-Identifier: Apache-2.0
"""State files of earlier versions are read, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slotwise
from golden.state_contents import KINDS, ROWS, Job
from support import keras_cases


def check_loaded(trained: Job, api: Any, *paths: Any) -> None:
    fresh = Job(api)
    for variable in fresh.variables:
        variable.assign(np.zeros(variable.shape))
    base, *deltas = paths
    state = slotwise.load(base, deltas=deltas, optimizer=fresh.optimizer, variables=fresh.variables)
    assert state.extra == trained.extra
    for a, b in zip(fresh.variables, trained.variables, strict=True):
        assert a.value.tobytes() == b.value.tobytes()
    got, want = fresh.optimizer.state_dict(), trained.optimizer.state_dict()
    config = want.pop("config")
    assert got.pop("config") == config
    assert keras_cases.rounded_like(config, state.config) == state.config
    assert got.keys() == want.keys()
    for name, x in want.items():
        assert got[name].tobytes() == np.asarray(x).tobytes(), name


@pytest.mark.parametrize("api", KINDS)
def test_checkpoint(api: Any) -> None:
    job = Job(api)
    job.train()
    for path in (job.one_file, job.several):
        check_loaded(job, api, path)
        state = slotwise.load(path, optimizer="saved", variables=job.variables)
        assert int(state.optimizer.iterations) == 4


@pytest.mark.parametrize("api", KINDS)
def test_delta(api: Any) -> None:
    job = Job(api)
    job.train()
    job.train_rows()
    check_loaded(job, api, job.several, job.delta)
    assert slotwise.load_array(job.delta, "v0@rows").tolist() == ROWS.tolist()
