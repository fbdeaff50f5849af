# SPDX-License-Identifier: Apache-2.0
"""The benchmark runs without any peer, goes on where it stopped, and compares runs.

What is tested is that, not speed: the runs are as short as they can be.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import bench_runs

from bench.measure.in_turn import Plan
from bench.peers.slotwise import PEER as OURS
from bench.peers.slotwise import Otherwise
from bench.results.records import load
from bench.run import run, run_task, tasks
from bench.suites import all_suites
from bench.suites.base import Options
from bench.work.bags import Bags
from bench.work.rows import Batch

CHECKOUT = Path(__file__).parents[2]
TINY = ("--against", "--time", "0.001", "--threads", "1")
DENSE = ("--suite", "dense", "--op", "ApplyMomentum", "--size", "64", "1Ki")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bench", *map(str, arguments)]


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), check=False, cwd=CHECKOUT, capture_output=True, text=True, timeout=300
    )


def test_what_deferred_updates_cost() -> None:
    done = bench("deferred", "--rows", "4Ki", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert "flush" in done.stdout and "uniform ids" in done.stdout
    for option in ("--rows", "--repeats"):
        refused = bench("deferred", option, "0")
        assert refused.returncode == 2 and "expected 1 or more, got 0" in refused.stderr


@pytest.mark.parametrize("more", [(), ("--network",)])
def test_what_saves_in_the_background_cost(more: tuple[str, ...]) -> None:
    done = bench("background", "--size", "1Mi", "--repeats", "1", *more)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("plain", "background", "copies", "stall"))
    refused = bench("background", "--size", "0")
    assert refused.returncode == 2 and "expected 1 or more, got 0" in refused.stderr


def cases(folder: Path) -> list[str]:
    return [r["case"] for r in records(folder)]


def records(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())["records"]
    assert all(r["status"] == "ok" for r in found), found
    return found


def quietly(path: Path) -> None:
    """Has a run say that nothing else ran meanwhile: tests share their machine."""
    data = json.loads(path.read_text())
    for record in data["records"]:
        record["extra"]["foreign_load"] = [0.0] * len(record["extra"]["foreign_load"])
    path.write_text(json.dumps(data))


def test_runs_resumes_and_compares_without_peers(tmp_path: Path) -> None:
    first = bench(*DENSE, *TINY, "--out", tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    names = cases(tmp_path)
    assert "ApplyMomentum/float32/64" in names and len(names) == 2
    assert "Momentum" in (tmp_path / "report.html").read_text()

    more = (*DENSE, "4Ki", *TINY, "--out", tmp_path, "--resume", "--plain")
    before = json.loads((tmp_path / "results.json").read_text())["records"]
    resumed = bench(*more)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    after = json.loads((tmp_path / "results.json").read_text())["records"]
    assert after[:2] == before and len(after) == 3

    quietly(tmp_path / "results.json")
    same = bench("compare", tmp_path, tmp_path)
    assert same.returncode == 0 and "3 cases in both" in same.stdout, same.stdout + same.stderr


def test_compare_names_what_became_slower(tmp_path: Path) -> None:
    old = tmp_path / "old"
    assert bench(*DENSE, *TINY, "--out", old, "--plain").returncode == 0
    data = json.loads((old / "results.json").read_text())
    data["records"][0]["seconds"]["slotwise"] = [
        2 * t for t in data["records"][0]["seconds"]["slotwise"]
    ]
    new = tmp_path / "new.json"
    new.write_text(json.dumps(data))
    quietly(old / "results.json")
    quietly(new)
    done = bench("compare", old, new)
    assert done.returncode == 1 and "slower" in done.stdout, done.stdout + done.stderr


def test_interrupt_keeps_what_is_finished(tmp_path: Path) -> None:
    arguments = ("--suite", "call_overhead", *TINY, "--out", tmp_path, "--plain")
    running = subprocess.Popen(
        command(*arguments), cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 60
    while not (tmp_path / "results.json").exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGINT)
    assert running.wait(60) == 130
    kept = cases(tmp_path)
    assert 0 < len(kept) < 18

    assert bench(*arguments, "--resume").returncode == 0
    assert cases(tmp_path)[: len(kept)] == kept
    assert len(cases(tmp_path)) == 18


def test_sparse_cases_run_without_peers(tmp_path: Path) -> None:
    done = bench("--suite", "rows", "--op", "gather", *TINY, "--out", tmp_path, "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(cases(tmp_path)) == 4


def test_bags_run_without_peers(tmp_path: Path) -> None:
    done = bench("--suite", "bags", *TINY, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = records(tmp_path)
    assert len(found) == 10
    beside = {(r["op"], r["peer"]) for r in found}
    assert beside == {
        ("gather_pooled", ""),
        ("legacy.Adagrad", "slotwise expanding first"),
        ("SparseApplyAdagradV2", "slotwise exact"),
        ("coalesce", "slotwise exact"),
    }
    for record in found:
        assert set(record["seconds"]) >= {"slotwise", record["peer"]} - {""}
        assert ("beyond" in record["extra"]) == (record["op"] == "legacy.Adagrad")
    assert "slotwise expanding first" in done.stdout
    assert "slotwise exact" in (tmp_path / "report.html").read_text()


def test_tables_run_without_peers(tmp_path: Path) -> None:
    done = bench("--suite", "tables", *TINY, "--out", tmp_path, "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    found = records(tmp_path)
    assert [r["op"] for r in found if r["peer"]] == ["gather_pooled", "legacy.Adagrad"]
    assert {r["peer"] for r in found} == {"", "slotwise table by table"}
    assert len(found) == 8


def test_another_way_that_differs_is_not_timed() -> None:
    suite = all_suites()["bags"]
    case = next(c for c in suite.cases(Options(ops=("gather_pooled",))))
    other = Otherwise("of other arrays", seed=8)
    record = run_task((suite, case, other), OURS, 1, Plan())
    assert (record.status, record.peer) == ("wrong", "slotwise of other arrays")
    assert not record.seconds


@given(st.integers(1, 300), st.integers(1, 5), st.integers(0, 40), st.integers(0, 9))
def test_bags_have_lengths_in_range(count: int, least: int, more: int, seed: int) -> None:
    most = least + more
    bags = Bags(Batch(50, 4, count, seed=seed), (least, most), tables=3)
    sizes = np.diff(bags.bounds)
    assert bags.bounds[0] == 0 and bags.bounds[-1] == count
    assert (sizes <= most).all() and (sizes[:-1] >= least).all() and sizes[-1] >= 1
    assert [ids.size for ids in bags.ids] == [count] * 3
    assert bags.shape == (sizes.size, 12)


def test_state_runs_without_peers(tmp_path: Path) -> None:
    done = bench("--suite", "state", "--size", "64Ki", *TINY, "--out", tmp_path, "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(cases(tmp_path)) == 3


def test_optimizers_run_without_peers(tmp_path: Path) -> None:
    arguments = ("--suite", "optimizers", "--op", "legacy.Adam", "--size", "1Ki")
    done = bench(*arguments, *TINY, "--out", tmp_path, "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(cases(tmp_path)) == 3


def test_no_case_starts_after_the_deadline(tmp_path: Path) -> None:
    suite, results = all_suites()["call_overhead"], bench_runs.run([])
    todo = tasks([(suite, suite.cases(Options()))], [])
    path = tmp_path / "results.json"
    assert run(todo, results, path, OURS, 1, Plan(), lambda *_: None, deadline=0.0)
    assert not results.records and results.left_out.startswith("18 of 18 cases were left out")
    assert load(path).left_out == results.left_out


def test_says_what_it_does_before_it_starts(tmp_path: Path) -> None:
    done = bench(*DENSE, *TINY, "--out", tmp_path, "--plain")
    first = done.stdout.splitlines()[0]
    assert first.startswith("2 cases of 1 suite against no peer: about 1 second"), done.stdout
