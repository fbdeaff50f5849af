# SPDX-License-Identifier: Apache-2.0
"""The contract of accuracy of `sparse="deferred"`, over 10,000 steps, and over a long absence.

`tests/deferred` has the short runs. (It needs no TensorFlow, but the time that these tests have.)
"""

from __future__ import annotations

import pytest
from support.deferred import (
    Case,
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
    assert_within(case, measured(case, 10_000, Zipf(1)))


@pytest.mark.parametrize("period", [2, 5, 8])
@pytest.mark.parametrize("case", cases()[::3], ids=str)
def test_equal_absences(case: Case, period: int) -> None:
    assert_within(case, measured(case, 4000, Periodic(6, period)))


@pytest.mark.parametrize("name", ["Adam", "AdamW, restarts", "Adamax", "SGD, decay, average"])
def test_an_absence_of_300_000_steps(name: str) -> None:
    """Longer than the tables by step: all rows catch up on the way."""
    assert_near_after_absence(name, Zipf(3, rows=60, width=4, batch=8), 300_000)
