"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.results.records import LIMIT, OURS, Record, Results
from bench.results.units import show_rate, show_ratio, show_size, show_time
from bench.show import charts
from bench.show.summary import case_label, case_size, overviews
from bench.show.targets import GROWTH, TARGETS
from bench.suites import THREADS, all_suites, suite_of
from bench.work.ops import short_name

TEMPLATES = Path(__file__).with_name("templates")


def write(results: Results, path: Path) -> None:
    """Writes the report of a run to ``path``: a page, or in Markdown its summary."""
    markdown = path.suffix == ".md"
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=not markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    peers = sorted({r.peer for r in results.records if r.peer})
    template = environment.get_template("summary.md.j2" if markdown else "report.html.j2")
    page = template.render(
        results=results,
        environment=results.environment,
        settings=results.settings,
        peers=peers,
        overviews=overviews(results),
        targets=_targets(results),
        command=_command(results),
        suites=[] if markdown else _suites(results, peers),
    )
    path.write_text(page)


def _command(results: Results) -> str:
    """What was run, but for where the results went."""
    words = [w for w in results.command if w not in ("--resume", "--plain")]
    while "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    return " ".join(["python -m bench", *words])


def _targets(results: Results) -> list[dict[str, Any]]:
    rows = []
    for target in TARGETS:
        found = target.verdict(results)
        if found is not None:
            rows.append(
                {
                    "name": target.name,
                    "required": target.bound,
                    "value": f"{found.value:.2f}{target.unit}",
                    "pairs": f"{found.pairs:.2f}{target.unit}",
                    "status": target.status(found),
                    "detail": found.detail,
                }
            )
    return rows


def _suites(results: Results, peers: list[str]) -> list[dict[str, Any]]:
    """Charts and tables, suite by suite, in the order of the suites."""
    found = []
    for name in [*all_suites(), THREADS.name]:
        suite = suite_of(name)
        records = [r for r in results.records if r.suite == name]
        if records:
            found.append(
                {
                    "name": name,
                    "title": suite.title,
                    "about": suite.about,
                    "bars": _bars(records),
                    "lines": _lines(records, peers) if suite.limits and name != "growth" else [],
                    "scaling": _scaling(records, peers) if name == THREADS.name else [],
                    "rows": _rows(name, records, peers),
                    "tables": _tables(records),
                }
            )
    return found


def _bars(records: list[Record]) -> list[str]:
    def key(r: Record) -> tuple[str, str, int]:
        return r.peer, r.dtype, r.size

    good = sorted((r for r in records if r.status == "ok" and r.ratio), key=key)
    return [
        charts.ratio_bars(f"{case_size(rows[0])}, {dtype}, against {peer}", rows)
        for (peer, dtype, _), members in groupby(good, key)
        if (rows := list(members))
    ]


def _rows(suite: str, records: list[Record], peers: list[str]) -> list[str]:
    """Rows per second over width and skew; growth over the size of the table."""
    good = [r for r in records if r.status == "ok"]
    if suite == "growth":
        return [charts.growth("Merged Adagrad, float32", good, GROWTH)] if good else []
    if suite != "sweep" or not good:
        return []
    found = []
    for dtype, members in groupby(sorted(good, key=lambda r: r.dtype), lambda r: r.dtype):
        mine = list(members)
        here = [p for p in peers if any(r.peer == p for r in mine)]
        for law in charts.laws(mine):
            rows = [r for r in mine if r.extra["law"] == law]
            found.append(charts.rows_over_width(f"{law} ids, {dtype}", rows, here))
        found.append(charts.rows_by_law(f"slotwise, by skew, {dtype}", mine))
    return found


def _scaling(records: list[Record], peers: list[str]) -> list[str]:
    """One chart per op, size and work that was measured with several numbers of threads."""

    def key(r: Record) -> tuple[str, str, int, str]:
        return r.op, r.dtype, r.size, r.variant.partition(", ")[2]  # behind the threads

    found = []
    good = sorted((r for r in records if r.status == "ok"), key=key)
    for (*_, work), members in groupby(good, key):
        rows = list(members)
        if len({r.extra["threads"] for r in rows}) >= 2:
            here = [p for p in peers if any(r.peer == p for r in rows)]
            title = f"{short_name(rows[0].op)}, {work or case_size(rows[0])}"
            found.append(charts.rate_over_threads(title, rows, here))
    return found


def _lines(records: list[Record], peers: list[str]) -> list[str]:
    """One chart per op and dtype that was measured at three sizes or more."""

    def key(r: Record) -> tuple[str, str]:
        return r.op, r.dtype

    good = sorted((r for r in records if r.status == "ok" and not r.variant), key=key)
    found = []
    for (op, dtype), members in groupby(good, key):
        rows = list(members)
        if len({r.size for r in rows}) >= 3:
            here = [p for p in peers if any(r.peer == p for r in rows)]
            found.append(charts.rate_over_size(f"{short_name(op)}, {dtype}", rows, here))
    return found


def _tables(records: list[Record]) -> list[dict[str, Any]]:
    def key(r: Record) -> tuple[str, str, int]:
        return r.peer, r.dtype, r.size

    found = []
    for (peer, dtype, size), members in groupby(sorted(records, key=key), key):
        rows = []
        for record in sorted(members, key=case_label):
            ratio, fraction = record.ratio, record.fraction(LIMIT)
            rows.append(
                {
                    "name": case_label(record),
                    "status": record.status,
                    "note": record.note,
                    "ours": show_time(record.best(OURS)),
                    "theirs": show_time(record.best(peer)) if peer else "-",
                    "ratio": show_ratio(ratio.minima) if ratio else "-",
                    "loss": bool(ratio and ratio.minima < 1),
                    "pairs": (
                        f"{ratio.pairs.median:.2f} [{ratio.pairs.low:.2f}, {ratio.pairs.high:.2f}]"
                        if ratio
                        else "-"
                    ),
                    "growth": f"{g.minima:.2f}" if (g := record.growth) else "-",
                    "rows": f"{(record.rows_rate(OURS) or 0) / 1e6:.3g}",
                    "rate": show_rate(record.rate(OURS)) if fraction else "-",
                    "limit": f"{fraction.minima:.2f}" if fraction else "-",
                    "rounds": len(record.seconds.get(OURS, [])),
                }
            )
        found.append(
            {
                "title": f"{show_size(size)} {suite_of(records[0].suite).unit}, {dtype}"
                + (f", against {peer}" if peer else ", beside the limit"),
                "peer": peer or "-",
                "of_rows": any("ids" in r.extra for r in records),
                "growing": any(r.growth for r in records),
                "rows": rows,
            }
        )
    return found
