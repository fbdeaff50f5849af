# SPDX-License-Identifier: Apache-2.0
"""The benchmark says when its figures must not be believed, by a load that is made up."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support import bench_runs

from bench.measure import in_turn, timing
from bench.measure.in_turn import Plan
from bench.results import records, trust
from bench.results.records import Record, Results
from bench.show import first, report, table
from bench.show.targets import judged
from bench.tools import compare
from bench.work.base import dense_work
from bench.work.contestant import Subject

QUIET, NOISY = [0.01] * 9, [0.66] * 9
WARNING = "These figures must not be believed: other processes took 66 % of the cores"


def _console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=400), text


def _run(noisy: int, quiet: int) -> Results:
    ops = [f"Apply{i}" for i in range(noisy + quiet)]
    shares = [NOISY] * noisy + [QUIET] * quiet
    return bench_runs.run(
        [bench_runs.record(20.0, s, op=op) for op, s in zip(ops, shares, strict=True)]
    )


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0.01, 0.5))
def test_a_case_is_disturbed_if_fewer_than_half_of_its_rounds_were_quiet(
    shares: list[float], busy: float
) -> None:
    quiet = [share for share in shares if share <= busy]
    assert trust.is_disturbed(shares, busy) == (2 * len(quiet) < len(shares))


@pytest.mark.parametrize(
    ("noisy", "quiet", "doubted"), [(0, 18, False), (1, 9, False), (2, 9, True), (1, 0, True)]
)
def test_a_run_is_doubted_if_more_than_a_tenth_is_disturbed(
    noisy: int, quiet: int, doubted: bool
) -> None:
    assert bool(_run(noisy, quiet).doubt) == doubted


def test_console_begins_and_ends_with_the_warning() -> None:
    console, text = _console()
    table.print_warning(console, _run(18, 0))
    assert text.getvalue().startswith(f"{WARNING} (median over the rounds; 8 % is the limit)")
    console, text = _console()
    table.print_warning(console, _run(0, 18))
    assert text.getvalue() == ""


def test_report_warns_before_anything_else(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    report.write(_run(18, 0), page)
    body = page.read_text().partition("<main>")[2].strip()
    assert body.startswith(f'<p class="warning">{WARNING}')
    assert ">not judged<" in body and ">met<" not in body and ">not met<" not in body
    report.write(_run(0, 18), page)
    assert "must not be believed" not in page.read_text()


def test_json_warns_in_its_first_field_and_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    _run(18, 0).save(path)
    data = json.loads(path.read_text())
    assert next(iter(data)) == "warning" and data["warning"].startswith(WARNING)
    assert records.load(path).doubt == data["warning"]
    _run(0, 18).save(path)
    assert json.loads(path.read_text())["warning"] is None


@pytest.mark.parametrize(
    ("noisy", "quiet", "status"), [(0, 18, "met"), (1, 17, "not judged"), (18, 0, "not judged")]
)
def test_targets_are_not_judged_by_disturbed_cases(noisy: int, quiet: int, status: str) -> None:
    row = next(row for row in judged(_run(noisy, quiet)) if row.value)
    assert row.value == "20.00x" and row.status == status
    assert not noisy or f"{noisy} of 18 cases disturbed" in row.detail
    console, text = _console()
    assert table.print_targets(console, _run(noisy, quiet)) == (status == "met")
    assert status in text.getvalue()


def test_compare_does_not_judge_by_runs_that_must_not_be_believed() -> None:
    slow = bench_runs.run([bench_runs.record(20.0, NOISY)])
    slow.records[0].seconds = {name: [9.0] * 9 for name in slow.records[0].seconds}
    console, text = _console()
    assert compare.show(console, bench_runs.run([bench_runs.record(20.0, QUIET)]), slow) == 2
    assert WARNING in text.getvalue() and "not judged" in text.getvalue()


def test_the_machine_is_quiet_shared_or_not_known() -> None:
    assert "a quiet machine: others took 1 % of the cores" in first.machine(_run(0, 1))
    assert "a shared machine: others took 66 % of the cores" in first.machine(_run(1, 0))
    unknown = bench_runs.run([bench_runs.record(20.0, [None] * 9)])
    assert first.machine(unknown).endswith("quiet or shared: not known")
    assert not unknown.doubt


class _Load:
    """A load of others that is made up, round by round."""

    shares: list[float | None]

    def __init__(self, own: object) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def share(self) -> float | None:
        return self.shares.pop(0) if len(self.shares) > 1 else self.shares[0]


@pytest.mark.parametrize(
    ("shares", "kept", "discarded"),
    [
        ([0.66], [0.66] * 3, None),  # never quiet: the record says so
        ([0.66, 0.01], [0.01] * 3, 1),  # measured again
        ([None], [None] * 3, 0),  # not known
    ],
)
def test_rounds_are_kept_by_what_others_took(
    monkeypatch: pytest.MonkeyPatch,
    shares: list[float | None],
    kept: list[float | None],
    discarded: int | None,
) -> None:
    load = type("Load", (_Load,), {"shares": list(shares)})
    monkeypatch.setattr(in_turn, "ForeignLoad", load)
    monkeypatch.setattr(in_turn, "wait_for_quiet", lambda busy, seconds: None)
    made = Record("dense", "case", "", "ApplyAdam", "float32", 64, "")
    subject = Subject("x + 1", {"x": 1}, lambda: [{}])
    plan = Plan(min_rounds=3, budget_s=0.2, sample_s=1e-4, gap_s=0.0)
    work = dense_work("ApplyAdam", "float32", 64)
    timing.measure_time({"slotwise": subject}, work, made, 1, plan, limits=False)
    assert made.extra["foreign_load"] == kept
    assert discarded is None or made.extra["discarded_rounds"] == discarded
    assert bench_runs.run([made]).is_disturbed(made) == (kept[0] == 0.66)
