# SPDX-License-Identifier: Apache-2.0
"""What people ask of the figures, a page each: one table, peers as columns, losses below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.results.records import Record, Results
from bench.results.views import Grid, Ratios
from bench.suites import all_suites


@dataclass(frozen=True)
class Said:
    """What one suite has to say to a question."""

    title: str
    about: str
    ratios: Sequence[Ratios]
    grids: Sequence[Grid] = ()
    differing: str = ""


@dataclass(frozen=True)
class Answer:
    """A page: the table of ratios, and what belongs to it.

    ``least`` and ``shares`` are lines, as are ``losses``; ``grids`` are tables of other figures.
    """

    table: Grid | None
    losses: Sequence[str]
    least: Sequence[str]
    shares: Sequence[str]
    suites: Sequence[Said]


def answer(results: Results, question: str) -> Answer:
    """What a run says to a question."""
    told = []
    for suite in all_suites().values():
        asked = [r for r in results.find(suite=suite.name) if suite.question(r) == question]
        good = [r for r in asked if r.status == "ok"]
        if good:
            wrong = _differing([r for r in asked if r.status == "wrong"])
            grids = suite.grids(good)
            told.append(Said(suite.title, suite.about, suite.ratios(good), grids, wrong))
    return answered([one for one in told if one.ratios or one.grids], question)


def answered(told: Sequence[Said], question: str) -> Answer:
    """The page of what the suites say."""
    found = [(one, ratios) for one in told for ratios in one.ratios]
    peers = sorted({p for _, ratios in found for row in ratios.means.values() for p in row})
    rows = []
    for one, ratios in found:
        rows += [
            [one.title, ratios.dtype, at, *(row.get(peer, "") for peer in peers)]
            for at, row in ratios.means.items()
        ]
        if ratios.least:
            smallest = [ratios.least.get(peer, "").partition(" ")[0] for peer in peers]
            rows.append([one.title, ratios.dtype, "least", *smallest])
    least = [
        f"{one.title}, {ratios.dtype}: "
        + "; ".join(f"{peer} {case}" for peer, case in sorted(ratios.least.items()))
        for one, ratios in found
        if ratios.least
    ]
    # Small arrays are in the caches: the limit of the memory is none for them.
    shares = [
        f"{one.title}, {ratios.dtype}. {ratios.share}"
        for one, ratios in found
        if ratios.share and question != "small"
    ]
    losses = [f"{one.title}, {ratios.dtype}: {x}" for one, ratios in found for x in ratios.losses]
    head = ["work", "type", "size", *peers]
    table = Grid("", [head, *_without_repeats(rows)], words=3) if rows else None
    return Answer(table, losses, least, shares, told)


def _without_repeats(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """The words of a row, except for those that the row above it begins with, too."""
    found, above = [], ("", "")
    for title, dtype, *others in rows:
        is_new = title != above[0]
        found.append(
            [title if is_new else "", dtype if is_new or dtype != above[1] else "", *others]
        )
        above = title, dtype
    return found


def _differing(records: Sequence[Record]) -> str:
    """What was not timed because a peer computes something else, in a sentence; or nothing."""
    names = dict.fromkeys(f"{r.label} ({r.peer}, {r.dtype})" for r in records)
    return f"Not timed, results differ: {', '.join(names)}." if names else ""
