# SPDX-License-Identifier: Apache-2.0
"""Steps that were put off are as near to float64 as those that were taken."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from support.deferred import (
    Case,
    Deferred,
    Dense,
    Periodic,
    Zipf,
    assert_near_after_absence,
    assert_within,
    cases,
    measured,
)

every = pytest.mark.parametrize("case", cases(), ids=str)


@every
def test_ids_of_zipf(case: Case) -> None:
    assert_within(case, measured(case, 1000, Zipf(0)))


@every
@pytest.mark.parametrize("period", [3])
def test_equal_absences(case: Case, period: int) -> None:
    """The rounding of a factor would be the same each time, and add up."""
    assert_within(case, measured(case, 1000, Periodic(6, period)))


@every
def test_float64(case: Case) -> None:
    stream = Zipf(1)
    table = stream.table.astype(np.float64)
    dense, deferred = Dense(case, table), Deferred(case, table)
    if case.options.get("beta_2") == 0.95:  # takes too many terms
        with pytest.raises(ValueError, match="more than 16 terms"):
            deferred.step(*next(iter(stream)))
        return
    for _, (ids, grads) in zip(range(500), stream, strict=False):
        dense.step(ids, grads)
        deferred.step(ids, grads)
    for (name, x), y in zip(dense.read().items(), deferred.read().values(), strict=True):
        error = np.abs(x - y).max() / max(1.0, np.abs(x).max())
        assert error < 1e-9, (name, error)


HALVES = [case for case in cases() if case.name in ("Adam", "AdamW", "SGD, momentum", "Adamax")]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("case", HALVES, ids=str)
def test_16_bits(case: Case, dtype: Any) -> None:
    stream = Zipf(2)
    stream.sizes = np.clip(stream.sizes, 1e-3, 1)
    runs = [Dense(case, stream.table.astype(dtype).astype(np.float64))]
    runs += [kind(case, stream.table.astype(dtype)) for kind in (Dense, Deferred)]
    for _, (ids, grads) in zip(range(1000), stream, strict=False):
        for run in runs:
            run.step(ids, grads.astype(dtype).astype(np.float32))
    exact, dense, deferred = (run.read() for run in runs)
    for name, x in exact.items():
        errors = [np.abs(run[name].astype(np.float64) - x) for run in (deferred, dense)]
        mine, its = (float((e * e).mean()) ** 0.5 for e in errors)
        assert mine <= 2 * its, (name, mine, its)


@pytest.mark.parametrize("name", ["Adam", "AdamW, average, restarts", "Nadam", "Lion", "Ftrl"])
def test_long_absence(name: str) -> None:
    assert_near_after_absence(name, Zipf(3, rows=200), 6000)
