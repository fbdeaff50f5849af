# SPDX-License-Identifier: Apache-2.0
"""The suite of PyTorch's steps: its cases and targets, and that contestants do the same work."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
from support import bench_runs
from support.jobs import needs_torch

from bench.measure.in_turn import Plan
from bench.peers import all_peers
from bench.peers.slotwise import PEER as OURS
from bench.results.records import Record
from bench.run import run_task, tasks
from bench.show.targets import judged
from bench.suites.base import Options
from bench.suites.torch import FUSE, ON_ROWS, SUITE, TABLES, TorchCase
from bench.work.rows import Batch
from bench.work.torch_steps import MODEL, TORCH_OPTIMIZERS

PEERS = [all_peers()[name] for name in ("torch", "fbgemm", "deepspeed", "tensorflow")]
SHORT = Plan(min_rounds=1, max_rounds=1, budget_s=0.0, sample_s=1e-4, gap_s=0.0, patience=0.0)
QUIET = [0.01] * 9


def _case(op: str, **changes: Any) -> TorchCase:
    dense = TorchCase("torch", op, "float32", 79, "small", shapes=((64,), (3, 5)))
    return replace(dense, **changes)


def _measured(case: TorchCase, peer: str) -> Record:
    all_peers()[peer].start(1)
    return run_task((SUITE, case, all_peers()[peer]), OURS, 1, SHORT)


def test_targets_find_every_case() -> None:
    """Each target of the suite, by the records that a run of the targets makes."""
    made = []
    for _, case, peer in tasks([(SUITE, SUITE.cases(Options("targets")))], PEERS):
        assert peer is not None
        record = bench_runs.record(2.0, QUIET, "torch", case.op, case.size, peer.name)
        record.variant = case.variant
        made.append(record)
    found = {row.name: row for row in judged(bench_runs.run(made)) if row.value}
    assert len(found) == 10
    assert all("not measured" not in row.detail for row in found.values()), found
    assert found["PyTorch, 64 Mi: against DeepSpeedCPUAdam"].status == "met"
    assert found["PyTorch, 1000 x 64: against torch's fused Adam"].status == "not met"


@pytest.mark.parametrize("level", ["targets", "quick", "full"])
def test_cases_differ(level: str) -> None:
    names = [case.name for case in SUITE.cases(Options(level))]
    assert len({*names}) == len(names) > 15


def test_takes_only_what_it_can_measure() -> None:
    assert not SUITE.cases(Options(dtypes=("float64",)))
    assert {case.op for case in SUITE.cases(Options(ops=(MODEL,)))} == {MODEL}
    sizes = {case.size for case in SUITE.cases(Options(sizes=(100,), ops=("st.RAdam",)))}
    assert 100 in sizes


def test_says_that_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slotwise.torch", None)
    record = run_task((SUITE, _case("st.Adam"), None), OURS, 1, SHORT)
    assert record.status == "unsupported" and "torch" in record.note


@needs_torch
@pytest.mark.parametrize("op", [op for op in TORCH_OPTIMIZERS if op != "st.SparseAdam"])
def test_a_step_is_that_of_torch(op: str) -> None:
    record = _measured(_case(op), "torch")
    assert record.status == "ok", record.note
    assert set(record.check) == {"var", *TORCH_OPTIMIZERS[op].slots}
    assert record.seconds["torch"]


@needs_torch
@pytest.mark.parametrize("op", ON_ROWS)
def test_a_step_on_rows_is_that_of_torch(op: str) -> None:
    record = _measured(_case(op, shapes=(), batch=Batch(5000, 16, 600, 1.2)), "torch")
    assert record.status == "ok", record.note
    assert record.extra["touched"] < 600


@needs_torch
@pytest.mark.parametrize("variant", [TABLES, FUSE])
def test_a_step_of_the_model_is_that_of_torch(variant: str) -> None:
    record = _measured(_case(MODEL, size=64, variant=variant, rows=1000, shapes=()), "torch")
    assert record.status == "ok", record.note
    assert set(record.check) == {"probability"}
