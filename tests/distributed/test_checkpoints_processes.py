# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of ranks that are processes."""

from __future__ import annotations

import shutil
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


@pytest.mark.parametrize("engine", ENGINES)
def test_a_process_that_is_killed_while_all_save(tmp_path: Path, engine: str) -> None:
    saved, killed = tmp_path / "save-2", tmp_path / "killed"
    whole = Job(engine, 2, "support.rank_checkpoints", engine, "save", tmp_path)
    assert whole.status == 0, whole.output
    old, new = digests(saved), digests(tmp_path / "save-3")
    for victim, last in ((1, 1), (1, 4), (0, 2), (0, 9), (0, 12)):
        shutil.rmtree(killed, ignore_errors=True)
        shutil.copytree(saved, killed)
        job = Job(engine, 2, "support.rank_checkpoints", engine, "kill", tmp_path, victim, last)
        assert job.status != 0, (victim, last, job.output)
        assert job.orphans == 0, job.output
        assert digests(killed) in (old, new)
