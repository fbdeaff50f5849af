# SPDX-License-Identifier: Apache-2.0
"""Training on processes gives the bits that it gives on threads, and on one rank."""

from __future__ import annotations

import re

import pytest
from slotwise.distributed import in_threads
from support.jobs import Job, needs_mpi, needs_torch
from support.rank_training import lines


@pytest.mark.parametrize(
    ("engine", "ranks"),
    [
        *(pytest.param("mpi", ranks, marks=needs_mpi) for ranks in (1, 2, 4)),
        pytest.param("torch", 2, marks=needs_torch),
    ],
)
def test_the_same_bits(engine: str, ranks: int) -> None:
    expected = in_threads(1, lines)[0]
    job = Job(engine, ranks, "support.rank_training", engine)
    assert job.status == 0, job.output
    assert re.findall("^trained (.*)$", job.output, re.MULTILINE) == expected
