# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of ranks that are processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from slotwise.state import digests
from support.jobs import ENGINES, Job


@pytest.mark.parametrize("engine", ENGINES)
def test_another_number_of_processes_goes_on(tmp_path: Path, engine: str) -> None:
    for ranks, what in ((2, "save"), (3, "load")):
        job = Job(engine, ranks, "support.rank_checkpoints", engine, what, tmp_path)
        assert job.status == 0, job.output
    for number in (2, 3):
        assert digests(tmp_path / f"save-{number}") == digests(tmp_path / f"load-{number}")
