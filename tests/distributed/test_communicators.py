# SPDX-License-Identifier: Apache-2.0
"""One contract for all communicators: threads here, processes of MPI and of torch.distributed."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

import pytest
from slotwise import distributed
from support.contract import CHECKS, LATE, SHORT, TIMEOUT
from support.jobs import Job, needs_mpi, needs_torch

names = pytest.mark.parametrize("name", CHECKS)


@names
def test_one_rank(name: str) -> None:
    CHECKS[name](distributed.local())


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@names
def test_threads(name: str, ranks: int) -> None:
    distributed.in_threads(ranks, CHECKS[name], timeout=SHORT if name in LATE else TIMEOUT)


@needs_mpi
@pytest.mark.parametrize("ranks", [2, 4])
@names
def test_processes_of_mpi(name: str, ranks: int) -> None:
    expect_no_problem("mpi", ranks, name)


@needs_torch
@names
def test_processes_of_torch(name: str) -> None:
    expect_no_problem("torch", 2, name)


def expect_no_problem(engine: str, ranks: int, name: str) -> None:
    problems, output = problems_of(engine, ranks)
    for rank in range(ranks):
        assert name in problems[rank], f"rank {rank} did not come so far: {output}"
        assert not problems[rank][name], f"rank {rank}: {problems[rank][name]}"


@cache
def problems_of(engine: str, ranks: int) -> tuple[list[dict[str, str]], str]:
    """What went wrong on each rank, for each check that came to an end, and what was written.

    One job does all checks: it takes seconds to start.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = Job(engine, ranks, "support.contract", engine, folder)
        files = [Path(folder) / str(rank) for rank in range(ranks)]
        lines = [file.read_text().splitlines() if file.exists() else [] for file in files]
    assert not job.orphans
    return [dict(map(json.loads, each)) for each in lines], job.output
