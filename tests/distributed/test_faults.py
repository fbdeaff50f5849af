# SPDX-License-Identifier: Apache-2.0
"""Processes that raise, end, are killed or stand still: no other waits for them for ever."""

from __future__ import annotations

import re

import pytest
from support.jobs import Job, needs_mpi, needs_torch
from support.rank_faults import FAULTS, TIMEOUT

SAYS = {
    "exception": "ValueError: no such file",
    "exit_three": r"rank 1 has (failed, has )?ended",
    "exit_early": r"rank 1 has (failed, has )?ended",
    "stop": "rank 0: waited 4 s for rank 1 in all_to_all",
    "interrupt": "KeyboardInterrupt",
    "abort": "rank 1: no more rows",
    "late": "rank 0: waited 4 s for rank 1 in all_to_all",
    "other_call": r"expected (all_to_all|barrier) on rank \d too, got (all_to_all|barrier)",
    "one_call_more": r"rank 0 has (failed, has )?ended",
}


# Tested with MPI alone, which starts sooner.
QUICK = ("exit_early", "interrupt", "abort", "late", "other_call", "one_call_more")


@pytest.mark.parametrize(
    ("engine", "fault"),
    [
        *(pytest.param("mpi", fault, marks=needs_mpi) for fault in FAULTS),
        *(
            pytest.param("torch", fault, marks=needs_torch)
            for fault in FAULTS
            if fault not in QUICK
        ),
    ],
)
def test_all_ranks_end(engine: str, fault: str) -> None:
    job = Job(engine, 2, "support.rank_faults", engine, fault, seconds=60)
    assert bool(job.status) == (fault != "nothing"), job.output
    assert re.search(SAYS.get(fault, ""), job.output), job.output
    for seconds in re.findall(r"^rank 0 after ([\d.]+) s", job.output, re.MULTILINE):
        assert float(seconds) < TIMEOUT + 2
    assert job.orphans == (1 if engine == "torch" and fault == "stop" else 0)
