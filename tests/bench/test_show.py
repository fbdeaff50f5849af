# SPDX-License-Identifier: Apache-2.0
"""What a run shows: its first screen, and pages that are filled between marks."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import bench_runs

from bench.peers import all_peers
from bench.results.records import OURS, Results
from bench.results.stats import geometric_mean
from bench.results.told import QUESTIONS
from bench.run import QUICK_S, expected_s, quick_plan, spread, tasks
from bench.show import first, report
from bench.show.questions import answer
from bench.show.targets import judged
from bench.suites import all_suites
from bench.suites.bags import EXPANDED
from bench.suites.base import Options

QUIET = [0.01] * 9
SHOW = Path(report.__file__).parent


def _run() -> Results:
    """Four ops, two sizes, two peers; tensorflow has more cases."""
    made = []
    for number, op in enumerate(bench_runs.OPS):
        made.append(bench_runs.record(40.0 + number, QUIET, op=op))
        made.append(bench_runs.record(4.0 + number, QUIET, "dense", op, 1 << 20))
        if number < 2:
            made.append(bench_runs.record(2.0, QUIET, "dense", op, 1 << 20, "torch"))
    return bench_runs.run(made)


def test_figures_are_of_the_peer_with_the_most_cases() -> None:
    call, large = first.figures(_run())
    assert call.value == f"{geometric_mean([40, 41, 42, 43]):.1f}x"
    assert call.what == "a call on 64 elements"
    assert call.detail == "the speed of tensorflow; 40.0x to 43.0x over 4 cases"
    assert large.value == f"{geometric_mean([4, 5, 6, 7]):.2f}x"


def test_other_ways_of_ours_are_no_peers() -> None:
    run = _run()
    own = bench_runs.record(2.0, QUIET, "bags", peer=EXPANDED.name)
    run.records += [own] * 20
    assert first.peers(run) == ["tensorflow", "torch"]
    assert not own.is_against_peer and run.records[0].is_against_peer
    assert not bench_runs.record(2.0, QUIET, peer="").is_against_peer
    assert len(first.figures(run)) == 2


def test_targets_of_bags_find_every_case() -> None:
    """Each target of the two suites, by the records that a run of the targets makes."""
    peers = [all_peers()[name] for name in ("torch", "fbgemm", "tensorflow")]
    made = []
    for name in ("bags", "tables"):
        suite = all_suites()[name]
        for _, case, peer in tasks([(suite, suite.cases(Options("targets")))], peers):
            assert peer is not None
            record = bench_runs.record(2.0, QUIET, name, case.op, case.size, peer.name)
            record.variant, record.extra["ids"] = case.variant, 4
            record.extra["beyond"] = {OURS: 24, peer.name: 1000}
            made.append(record)
    found = {row.name: row for row in judged(bench_runs.run(made)) if row.value}
    assert len(found) == 13
    assert all("not measured" not in row.detail for row in found.values()), found
    memory = found["Adagrad by gradients of bags: memory for an id beyond the arrays"]
    assert (memory.value, memory.status) == ("6.00 B", "met")
    assert memory.detail == "slotwise expanding first 250 B"
    exact = found["Coalesce, exact sums: time over that of sums in order"]
    assert (exact.value, exact.status) == ("2.00x", "not met")
    assert found["26 tables, pooled: against torch"].status == "met"
    assert found["26 tables, Adagrad: against FBGEMM"].status == "not met"


def test_first_chart_has_median_and_range_by_size() -> None:
    chart = first.ratios_over_sizes(_run())
    assert chart is not None
    tensorflow, torch = chart.lines
    assert tensorflow.points == {64: 41.5, 1 << 20: 5.5}
    assert tensorflow.ranges == {64: (40.0, 43.0), 1 << 20: (4.0, 7.0)}
    assert torch.label == "torch" and torch.points == {1 << 20: 2.0}


def test_first_screen_comes_before_targets_and_small_charts(tmp_path: Path) -> None:
    report.write(_run(), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    parts = ('<ul class="figures', '<figure class="wide', "<h2>Targets", 'id="dense"')
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    machine = "A Processor, 2 cores, AVX2, a quiet machine: others took 1 % of the cores"
    assert machine in page[: places[0]]


def test_marks_of_pages_are_filled_from_one_report(tmp_path: Path) -> None:
    readme, page = tmp_path / "README.md", tmp_path / "performance.md"
    readme.write_text("before\n<!-- bench:short -->\nold\n<!-- bench:end -->\nafter\n")
    page.write_text("# Performance\n<!-- bench:page -->\n<!-- bench:end -->\n")
    for path in (readme, page):
        report.write_parts([_run()], path)
    head, rule, call, large = readme.read_text().splitlines()[2:-2]
    assert head == "| speed, times that of | tensorflow | torch |"
    assert rule == "| --- | --: | --: |"
    assert call.startswith("| a call on 64 elements | 41.5x |  |")
    assert large.startswith("| an update of 1 Mi elements |") and large.endswith("| 2.00x |")
    assert readme.read_text().startswith("before\n") and readme.read_text().endswith("after\n")
    assert f"<!-- chart -->\n\n{head}\n{rule}\n{call}\n" in page.read_text()
    before = page.read_text()
    report.write_parts([_run()], page)
    assert page.read_text() == before


def test_every_question_has_a_page_with_one_table_of_ratios(tmp_path: Path) -> None:
    """Peers as columns, the least of each kind, and where a peer is faster."""
    run = _run()
    run.records.append(bench_runs.record(0.5, QUIET, "sparse", "SparseApplyFtrl", 4))
    run.records.append(bench_runs.record(2.0, QUIET, "dense", bench_runs.OPS[0], 1 << 12))
    asked = {name: answer(run, name) for name in QUESTIONS}
    table = asked["large"].table
    assert table is not None and table.rows == [
        ["work", "type", "size", "tensorflow", "torch"],
        ["Dense updates", "float32", "1 Mi", "5.38x", "2.00x"],
        ["", "", "least", "4.00x", "2.00x"],
    ]
    small = asked["small"].table
    assert small is not None and [row[:3] for row in small.rows[1:]] == [
        ["Cost of a call", "float32", "64"],
        ["", "", "least"],
        ["Dense updates", "float32", "4 Ki"],
        ["", "", "least"],
    ]
    assert asked["small"].shares == asked["small"].losses == asked["large"].losses == []
    assert asked["sparse"].losses == [
        "Sparse updates, float32: Ftrl at 4 ids: 0.50x the speed of tensorflow"
    ]
    assert asked["state"].table is None and not asked["state"].suites
    for name in QUESTIONS:
        page = tmp_path / f"{name}.md"
        page.write_text(f"# A page\n\n<!-- bench:{name} -->\n<!-- bench:end -->\n")
        report.write_parts([run], page)
        assert page.read_text().count("<!-- chart -->") == (asked[name].table is not None)
    assert "Nothing, in this run." in (tmp_path / "state.md").read_text()
    assert "\n\nIn no case.\n\n" in (tmp_path / "large.md").read_text()


def test_every_suite_is_on_the_page_of_a_question() -> None:
    record = bench_runs.record(2.0, QUIET)
    assert {suite.question(record) for suite in all_suites().values()} == set(QUESTIONS)
    for name in QUESTIONS:
        page = (SHOW.parents[1] / "docs" / "performance" / f"{name}.md").read_text()
        assert f"<!-- bench:{name} -->\n" in page and "<!-- bench:end -->\n" in page


def test_several_machines_stand_beside_each_other(tmp_path: Path) -> None:
    other = _run()
    other.settings["peers"]["slotwise"]["target"] = "AVX3"
    head, *rows = first.short([_run(), other]).rows
    assert head[1] == "instructions" and [row[1] for row in rows] == ["AVX2", "AVX3"] * 2


@pytest.mark.parametrize("text", ["no marks\n", "<!-- bench:all -->\n<!-- bench:end -->\n"])
def test_pages_without_marks_are_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"page.md: expected <!-- bench:page --> or .*, got"):
        report.write_parts([_run()], page)
    assert page.read_text() == text


def test_show_knows_no_suite_by_name() -> None:
    """Targets are of certain suites; everything else asks the suite."""
    for path in {*SHOW.glob("*.py"), *SHOW.glob("templates/*")} - {SHOW / "targets.py"}:
        for name in all_suites():
            assert f'"{name}"' not in path.read_text(), f"{path.name} names {name}"


def test_quick_fits_its_time_and_takes_the_suites_in_turn() -> None:
    todo = [
        (suite, case, None)
        for suite in all_suites().values()
        for case in suite.cases(Options("quick"))
    ]
    for count in (10, 100, len(todo), 400):
        assert expected_s(quick_plan(count), count) <= QUICK_S + 1e-6
    half = spread(todo)[: len(todo) // 2]
    for suite in all_suites().values():
        of_it = len(suite.cases(Options("quick")))
        assert abs(sum(task[0] is suite for task in half) - of_it / 2) <= 1
    assert sorted(map(id, spread(todo))) == sorted(map(id, todo))
