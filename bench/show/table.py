# SPDX-License-Identifier: Apache-2.0
"""Results on the terminal, and the tables of cases that the report has too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from rich.console import Console
from rich.table import Table

from bench.results.records import Record, Results
from bench.results.stats import geometric_mean
from bench.results.units import show_ratio, show_size
from bench.results.views import APART, PAIRS, RATIO, ROUNDS, THEIRS, Column, rated
from bench.show.summary import overviews
from bench.show.targets import HEADS, judged
from bench.suites import all_suites
from bench.suites.base import Suite

_COLOURS = {"good": "green", "even": "yellow", "bad": "red"}
_STATUS = {"met": "green", "not judged": "yellow", "not measured": "dim"}


@dataclass(frozen=True)
class Cases:
    """The cases of one suite, dtype, size and peer, and the columns that they have something for.

    ``records`` are those that were measured; ``others`` could not be, or were not.
    """

    suite: Suite
    title: str
    columns: list[Column]
    records: list[Record]
    others: list[Record]


def _group(record: Record) -> tuple[str, int, str]:
    return record.dtype, record.size, record.peer


def cases(results: Results) -> Iterator[Cases]:
    """Everything that was measured, suite by suite in the order of reports."""
    for suite in all_suites().values():
        mine = sorted(results.find(suite=suite.name), key=_group)
        for (dtype, size, peer), members in groupby(mine, _group):
            records = sorted(members, key=lambda r: r.label)
            good = [r for r in records if r.status == "ok"]
            columns = [
                replace(column, head=peer) if column.head == THEIRS else column
                for column in (*suite.columns, APART, ROUNDS)
                if any(column.cell(r) is not None for r in good)
            ]
            title = f"{suite.title}: {dtype}, {show_size(size)} {suite.unit}"
            title += f", against {peer}" if peer else ""
            others = [r for r in records if r.status != "ok"]
            yield Cases(suite, title, columns, good, others)


def _not_timed(console: Console, records: list[Record]) -> None:
    """Lines below a table for what was not timed, grouped by reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in records:
        reasons.setdefault((record.status, record.note), []).append(record.label)
    for (status, note), names in reasons.items():
        colour = "dim" if status == "unsupported" else "red"
        what = ", ".join(names) if len(names) <= 4 else f"{len(names)} cases"
        console.print(f"  [{colour}]{status}[/]: {what}: {note}", highlight=False)


def _cell(column: Column, record: Record) -> str:
    text, colour = column.cell(record) or "-", _COLOURS.get(column.tone(record))
    return f"[{colour}]{text}[/]" if colour else text


def print_cases(console: Console, results: Results) -> None:
    """One table per suite, dtype, size and peer; times are minima, pairs are over rounds."""
    for found in cases(results):
        table = Table(title=found.title, title_justify="left")
        table.add_column("op")
        for column in found.columns:
            table.add_column(column.head, justify="right")
        for record in found.records:
            table.add_row(record.label, *(_cell(column, record) for column in found.columns))
        ratios = [ratio for _, ratio in rated(found.records)]
        if len(ratios) > 1:
            means = {
                RATIO.head: show_ratio(geometric_mean(r.minima for r in ratios)),
                PAIRS.head: f"{geometric_mean(r.pairs.median for r in ratios):.2f}",
            }
            table.add_section()
            table.add_row("geometric mean", *(means.get(c.head, "") for c in found.columns))
        console.print(table if table.row_count else found.title)
        _not_timed(console, found.others)


def print_warning(console: Console, results: Results) -> None:
    """That the figures must not be believed, if so; and what was left out."""
    if results.doubt:
        console.print(f"[bold red]{results.doubt}[/]", highlight=False)
    if results.left_out:
        console.print(f"[yellow]{results.left_out}[/]", highlight=False)


def print_summary(console: Console, results: Results) -> None:
    """One sentence per suite; then by peer, with every case in which the peer is faster."""
    for overview in overviews(results):
        console.print(f"- {overview.text} [red]{overview.losses}[/]", highlight=False)
        for sentence in overview.sentences:
            console.print(f"  - {sentence.text}", highlight=False)
            if sentence.losses:
                console.print(f"    [red]slower[/]: {'; '.join(sentence.losses)}", highlight=False)


def print_targets(console: Console, results: Results) -> bool:
    """The project's targets; returns False if one that was measured is not met, or not judged."""
    table = Table(title="Targets (float32 unless named, 2 threads)", title_justify="left")
    for head in HEADS:
        table.add_column(head, justify="left" if head in ("target", "", "detail") else "right")
    found = judged(results)
    measured = [row for row in found if row.value]
    for row in found if "targets" in results.command else measured:
        status = f"[{_STATUS.get(row.status, 'red')}]{row.status}[/]"
        table.add_row(row.name, row.required, row.value, row.pairs, status, row.detail)
    if table.row_count:
        console.print(table)
        missing = len(found) - table.row_count
        if missing:
            console.print(f"{missing} targets were not measured; --suite targets measures all")
    return all(row.status == "met" for row in measured)
