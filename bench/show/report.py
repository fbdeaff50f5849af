# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file that needs nothing else; and parts of it for pages in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.results.records import Record, Results
from bench.results.told import QUESTIONS
from bench.results.views import Grid, rated
from bench.show import charts, first
from bench.show.questions import Answer, answer
from bench.show.summary import overviews
from bench.show.table import cases
from bench.show.targets import judged
from bench.suites import all_suites
from bench.suites.base import Suite

TEMPLATES = Path(__file__).with_name("templates")

# What a page in Markdown may ask for, between <!-- bench:NAME --> and <!-- bench:end -->.
PARTS = ("page", "short", *QUESTIONS)
_MARKED = re.compile(r"(<!-- bench:(\w+) -->\n).*?(<!-- bench:end -->)", re.DOTALL)


def write(results: Results, path: Path) -> None:
    """Writes the report of a run to ``path``."""
    peers = first.peers(results)
    chart = first.ratios_over_sizes(results)
    page = _environment(autoescape=True).get_template("report.html.j2")
    path.write_text(
        page.render(
            results=results,
            environment=results.environment,
            settings=results.settings,
            machine=first.machine(results),
            figures=first.figures(results),
            chart=charts.lines(chart, peers, (12.4, 4.2)) if chart else "",
            overviews=overviews(results),
            targets=[row for row in judged(results) if row.value],
            command=_command(results),
            suites=_suites(results, peers),
        )
    )


def write_parts(runs: Sequence[Results], path: Path) -> None:
    """Rewrites what stands between the marks of a page in Markdown; ``runs``: one a machine.

    Raises:
        ValueError: the page has no marks, or asks for a part that is not there.
    """
    text = path.read_text()
    asked = [match[2] for match in _MARKED.finditer(text)]
    if not asked or not set(asked) <= set(PARTS):
        marks = " or ".join(f"<!-- bench:{part} -->" for part in PARTS)
        raise ValueError(
            f"{path}: expected {marks}, then <!-- bench:end -->, got {asked or 'no marks'}"
        )
    path.write_text(_MARKED.sub(lambda m: f"{m[1]}{_part(m[2], runs)}{m[3]}", text))


def _part(name: str, runs: Sequence[Results]) -> str:
    if name == "short":
        return in_markdown(first.short(runs[:1]))
    if name in QUESTIONS:
        return in_words(answer(runs[0], name))
    results = runs[0]
    page = _environment(autoescape=False).get_template("page.md.j2")
    return page.render(
        results=results,
        environment=results.environment,
        settings=results.settings,
        machines=[first.machine(run) for run in runs],
        short=first.short(runs),
        targets=[row for row in judged(results) if row.value],
        command=_command(results),
        in_markdown=in_markdown,
    )


def in_words(answer: Answer) -> str:
    """The answer to one question, for its page."""
    page = _environment(autoescape=False).get_template("question.md.j2")
    return page.render(answer=answer, in_markdown=in_markdown)


def in_markdown(grid: Grid) -> str:
    """A table, its figures aligned to the right; of ratios, a chart may be drawn from it."""
    head, *rows = grid.rows
    rule = [*["---"] * grid.words, *["--:"] * (len(head) - grid.words)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def _environment(autoescape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _command(results: Results) -> str:
    """What was run, except for where the results went."""
    words = [w for w in results.command if w not in ("--resume", "--plain")]
    while "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    return " ".join(["python -m bench", *words])


def _suites(results: Results, peers: list[str]) -> list[dict[str, Any]]:
    """Charts and tables, suite by suite, in the order of the suites."""
    tables = list(cases(results))
    found = []
    for suite in all_suites().values():
        records = results.find(suite=suite.name, status="ok")
        mine = [table for table in tables if table.suite is suite]
        if mine:
            sections = [
                {
                    "title": section.title,
                    "about": section.about,
                    "charts": [charts.lines(chart, peers) for chart in section.charts],
                }
                for section in suite.sections(records)
            ]
            found.append(
                {
                    "suite": suite,
                    "sections": sections,
                    "bars": _bars(suite, records),
                    "cases": mine,
                }
            )
    return found


def _bars(suite: Suite, records: list[Record]) -> list[str]:
    """One chart of ratios for each peer, dtype and size."""

    def key(r: Record) -> tuple[str, str, int]:
        return r.peer, r.dtype, r.size

    good = sorted((r for r, _ in rated(records)), key=key)
    return [
        charts.ratio_bars(f"{suite.size(rows[0])}, {dtype}, against {peer}", rows)
        for (peer, dtype, _), members in groupby(good, key)
        if (rows := list(members))
    ]
