# SPDX-License-Identifier: Apache-2.0
"""The suite of ranks: its cases and targets, that contestants do the same work, and its jobs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import bench_runs
from support.jobs import needs_mpi, needs_torch
from support.process import gone

from bench.measure import check
from bench.measure.in_turn import Plan, timer
from bench.measure.load import ForeignLoad
from bench.measure.ranks import Job, on_ranks
from bench.peers import all_peers
from bench.peers.slotwise import PEER as OURS
from bench.peers.slotwise import Otherwise
from bench.results.records import LIMIT, Record
from bench.run import run_task, tasks
from bench.show.targets import judged
from bench.suites.base import Options
from bench.suites.ranks import BY_CLOCKS, IN_ONE, SUITE, WITHOUT, RanksCase, busiest, disagreement
from bench.work.ranks import FBGEMM, GLOO, LOCAL, MPI, STEP, TORCH, WIDTH, RanksWork, here

CHECKOUT = Path(__file__).parents[2]
SHORT = Plan(min_rounds=1, max_rounds=1, budget_s=0.0, sample_s=1e-4, gap_s=0.0, patience=0.0)
QUIET = [0.01] * 9
WORK = RanksWork.of({"call": STEP, "rows": 3000, "count": 500, "engine": LOCAL})


def _case(**changes: Any) -> RanksCase:
    one = RanksCase("ranks", STEP, "float32", 500 * WIDTH, "one rank", against=(), engine=LOCAL)
    return replace(one, rows=3000, count=500, **changes)


def _made(case: RanksCase, peer: str) -> Record:
    """A record of a case, as a run makes it where ranks are twice as fast as all else."""
    made = bench_runs.record(2.0, QUIET, "ranks", case.op, case.size, peer)
    made.variant = case.variant
    made.extra |= {"ranks": case.ranks, "sent": 1.0, "unmerged": 3.0}
    made.seconds |= {IN_ONE: [1e-6] * 9, BY_CLOCKS: [1.2e-6] * 5, LIMIT: [1e-6] * 9}
    made.bytes_moved, made.limit_bytes = 2, {LIMIT: 2}
    return made


def test_targets_find_every_case() -> None:
    """Each target of the suite, by the records that a run of the targets makes."""
    made = [
        _made(case, peer.name if peer else "")
        for _, case, peer in tasks(
            [(SUITE, SUITE.cases(Options("targets")))], [all_peers()["torch"]]
        )
        if isinstance(case, RanksCase)
    ]
    found = {row.name: row for row in judged(bench_runs.run(made)) if row.value}
    assert len(found) == 7
    assert all("not measured" not in row.detail for row in found.values()), found
    of = {name.split(", ", 1)[1]: (row.value, row.status) for name, row in found.items()}
    assert of["a step: time over that without ranks"] == ("0.50x", "met")
    assert of["a step: throughput over that of one process"] == ("2.00x", "met")
    assert of["a step: bytes that would be sent unmerged, over those sent"] == ("3.00x", "not met")
    assert of["a step: against TorchRec's way"] == ("2.00x", "not met")
    assert of["save: rate over that of a plain write"] == ("1.00", "met")
    assert of["restore: rate over that of a plain read"] == ("1.00", "met")
    model = next(row for name, row in found.items() if "the model" in name)
    assert (model.value, model.status) == ("1.20x", "met")


@pytest.mark.parametrize("level", ["targets", "quick", "full"])
def test_cases_differ(level: str) -> None:
    names = [case.name for case in SUITE.cases(Options(level))]
    assert len({*names}) == len(names) >= 9


def test_takes_only_what_it_can_measure() -> None:
    assert not SUITE.cases(Options(dtypes=("float64",)))
    assert {case.op for case in SUITE.cases(Options(ops=(STEP,)))} == {STEP}
    assert {case.size for case in SUITE.cases(Options(sizes=(640,), ops=(STEP,)))} == {640}
    assert [peer for peer in all_peers() if SUITE.takes(all_peers()[peer])] == [
        "fbgemm",
        "torch",
    ]


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    record = run_task((SUITE, _case(ranks=2, engine=MPI), None), OURS, 1, SHORT)
    assert (record.status, record.note) == ("unsupported", "mpi4py is not installed")
    monkeypatch.setitem(sys.modules, "torch", None)
    record = run_task((SUITE, _case(ranks=2, engine=GLOO), None), OURS, 1, SHORT)
    assert (record.status, record.note) == ("unsupported", "torch is not installed")


@pytest.mark.parametrize("is_spread", [False, True])
@pytest.mark.parametrize("engine", [LOCAL, WITHOUT.changes["engine"]])
def test_what_is_expected_is_a_step(engine: str, is_spread: bool) -> None:
    work = replace(WORK, engine=engine, is_spread=is_spread)
    subject = here(work, None)
    ((_, before),) = subject.state()[0].items()
    np.testing.assert_array_equal(before.ravel(), work.before("var", slice(0, before.size)))
    timer(subject)(1)
    differences, wrong = check.compare(work, subject.state(), work.expected())
    assert not wrong and differences["var"] < 100
    timer(subject)(1)
    assert check.compare(work, subject.state(), work.expected())[1]


def test_a_step_on_one_rank_is_that_without() -> None:
    record = run_task((SUITE, _case(), WITHOUT), OURS, 1, SHORT)
    assert record.status == "ok", record.note
    assert record.seconds[WITHOUT.name] and record.check["var"] < 100


def test_another_table_is_not_timed() -> None:
    other = Otherwise("of other ids", is_spread=True)
    record = run_task((SUITE, _case(), other), OURS, 1, SHORT)
    assert record.status == "wrong" and not record.seconds


def test_figures_of_a_record() -> None:
    record = bench_runs.record(1.0, QUIET, "ranks")
    assert busiest(record, "ids_by_rank") is None and disagreement(record) is None
    record.extra["ids_by_rank"] = [1, 2, 3]
    assert busiest(record, "ids_by_rank") == 1.5
    record.seconds = {"slotwise": [2.0, 4.0], BY_CLOCKS: [1.6, 5.0, 7.0]}
    assert disagreement(record) == 1.25


def test_what_our_other_processes_take_is_no_foreign_load() -> None:
    load = ForeignLoad([iter([0.0, 3.0]).__next__])
    with load:
        pass
    assert load.own == pytest.approx(3.0, abs=0.5)


@needs_mpi
def test_the_suite_end_to_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--suite", "ranks", "--against", "--time", "0.001"]
    command += ["--size", "64Ki", "--threads", "2", "--out", str(tmp_path)]
    done = subprocess.run(
        command, check=False, cwd=CHECKOUT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    records = {
        f"{r['op']}, {r['variant']}": r
        for r in json.loads((tmp_path / "results.json").read_text())["records"]
    }
    without = [] if importlib.util.find_spec("torch") else ["step, two ranks by gloo"]
    assert [name for name, r in records.items() if r["status"] != "ok"] == without, records
    assert len(records) == 9
    two = records["step, two ranks, exact"]
    assert {*two["seconds"]} == {"slotwise", IN_ONE}
    assert 1.5 < two["extra"]["unmerged"] / two["extra"]["sent"] < 10
    assert two["extra"]["exchange"] > 0 and two["extra"]["waiting"] >= 0
    assert {*records["simulated, two ranks"]["seconds"]} == {"slotwise", BY_CLOCKS}
    many = records["simulated, 16 ranks"]
    assert len(many["extra"]["ids_by_rank"]) == 16 and min(many["seconds"][BY_CLOCKS]) > 0
    for call in ("save, by two ranks", "restore, by one rank", "restore, by three ranks"):
        assert {*records[call]["seconds"]} == {"slotwise", LIMIT}
    page = (tmp_path / "report.html").read_text()
    assert "Busiest rank" in page and "the throughput of one process" in page


@needs_mpi
def test_ranks_that_wait_for_orders_do_not_spin() -> None:
    job = Job(replace(WORK, ranks=2, engine=MPI))
    before = job.processor_time()
    time.sleep(1)
    assert job.processor_time() - before < 0.2
    job.close()
    assert gone([process.pid for process in job.processes])


@needs_mpi
def test_a_rank_that_fails_ends_all() -> None:
    job = Job(replace(WORK, ranks=2, engine=MPI))
    job.processor_time()
    with pytest.raises(RuntimeError, match=r"mpi: the process ended unexpectedly, status [^0]"):
        job.value("emb.comm.rank and 1 / 0 or emb.comm.barrier()")
    job.close()
    assert gone([process.pid for process in job.processes])


@needs_mpi
@pytest.mark.parametrize(
    "engine", [MPI, *(pytest.param(each, marks=needs_torch) for each in (GLOO, TORCH, FBGEMM))]
)
def test_ways_over_two_ranks_agree(engine: str) -> None:
    if engine == FBGEMM:
        why = "of the peers' environment, where bench checks this before it measures"
        pytest.importorskip("fbgemm_gpu", reason=why)
    work = replace(WORK, ranks=2, engine=engine, is_spread=True)
    subject = on_ranks(work)
    timer(subject)(1)
    assert not check.compare(work, subject.state(), work.expected())[1]
