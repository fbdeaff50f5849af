# SPDX-License-Identifier: Apache-2.0
"""Busy processes end with what they were started for, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support.process import gone, runs

from bench.measure.competitors import competitors, usable_cores

CHECKOUT = Path(__file__).parents[2]


def test_competitors_end_with_their_block() -> None:
    with competitors(usable_cores()[:1]) as ids:
        assert all(map(runs, ids))
    assert gone(ids)
    with pytest.raises(KeyboardInterrupt), competitors(usable_cores()[:1]) as ids:
        raise KeyboardInterrupt
    assert gone(ids)


def test_a_competitor_that_ends_early_is_an_error() -> None:
    with (
        pytest.raises(RuntimeError, match="ended early"),
        competitors(usable_cores()[:1]) as ids,
    ):
        os.kill(ids[0], signal.SIGKILL)
        psutil.Process(ids[0]).wait(20)


def test_competitors_end_if_their_parent_is_killed() -> None:
    code = """
from bench.measure.competitors import competitors, usable_cores
import time
with competitors(usable_cores()[:1]) as ids:
    print(ids, flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    parent = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    ids = json.loads(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert gone(ids)


def test_the_suite_prints_its_ratios_and_leaves_nothing_running(tmp_path: Path) -> None:
    arguments = ("--suites", "shared", "--time", "0.001", "--threads", "1", "--out", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        check=False,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "x the time of passive waiting, " in done.stdout.replace("\n", " ")
    (record,) = json.loads((tmp_path / "results.json").read_text())["records"]
    assert record["status"] == "ok", record
    assert {len(times) for times in record["seconds"].values()} == {5}
    assert set(record["seconds"]) == {"slotwise", "passive waiting", "one thread"}
