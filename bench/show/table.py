"""Results on the terminal."""

from __future__ import annotations

from itertools import groupby

from rich.console import Console
from rich.table import Table

from bench.results.records import LIMIT, OURS, REFERENCE_LIMIT, Record, Results
from bench.results.stats import Ratio, geometric_mean
from bench.results.units import show_bytes, show_rate, show_ratio, show_size, show_time
from bench.show.summary import overviews
from bench.show.targets import TARGETS
from bench.suites import suite_of
from bench.work.ops import OPS, short_name


def _pairs(ratio: Ratio) -> str:
    p = ratio.pairs
    return f"{p.median:.2f} [{p.low:.2f}, {p.high:.2f}]"


def _coloured(ratio: float) -> str:
    colour = "green" if ratio >= 1.05 else "red" if ratio < 0.95 else "yellow"
    return f"[{colour}]{show_ratio(ratio)}[/]"


def _name(record: Record) -> str:
    return short_name(record.op) + (f" ({record.variant})" if record.variant else "")


def _not_timed(console: Console, records: list[Record]) -> None:
    """Lines below a table for what was not timed, grouped by reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.status != "ok":
            reasons.setdefault((record.status, record.note), []).append(_name(record))
    for (status, note), names in reasons.items():
        colour = "dim" if status == "unsupported" else "red"
        what = ", ".join(names) if len(names) <= 4 else f"{len(names)} cases"
        console.print(f"  [{colour}]{status}[/]: {what}: {note}", highlight=False)


def _row(record: Record, heads: list[str]) -> list[str]:
    ratio = record.ratio
    row = [_name(record), show_time(record.best(OURS))]
    row += [show_time(record.best(record.peer)) if ratio else "-"]
    row += [_coloured(ratio.minima), _pairs(ratio)] if ratio else ["-", "-"]
    more = {
        "growth": lambda: f"{g.minima:.2f}" if (g := record.growth) else "-",
        "M rows/s": lambda: f"{(record.rows_rate(OURS) or 0) / 1e6:.3g}",
        "rate": lambda: show_rate(record.rate(OURS)),
        "of limit": lambda: f"{f.minima:.2f}" if (f := record.fraction(LIMIT)) else "-",
        "of 4r3w": lambda: f"{f.minima:.2f}" if (f := record.fraction(REFERENCE_LIMIT)) else "-",
        "beyond arrays": lambda: show_bytes(record.extra["beyond"][OURS]),
        "ulp apart": lambda: f"{max(record.check.values()):.3g}" if record.check else "-",
    }
    return row + [more[head]() for head in heads]


def _heads(records: list[Record]) -> list[str]:
    """The columns that these records have something for."""
    found = []
    if any(r.growth for r in records):
        found.append("growth")
    if any(r.rows_rate(OURS) for r in records):
        found.append("M rows/s")
    if any(r.limit_bytes for r in records):
        found += ["rate", "of limit"]
    if any(r.fraction(REFERENCE_LIMIT) for r in records):
        found.append("of 4r3w")
    if any("beyond" in r.extra for r in records):
        found.append("beyond arrays")
    return [*found, "ulp apart"]


def print_cases(console: Console, results: Results) -> None:
    """One table per suite, dtype, size and peer; times are minima, pairs are over rounds."""

    def group(r: Record) -> tuple[str, str, int, str]:
        return r.suite, r.dtype, r.size, r.peer

    for (name, dtype, size, peer), members in groupby(sorted(results.records, key=group), group):
        suite = suite_of(name)
        records = sorted(members, key=lambda r: (r.op, r.variant))
        against = f"against {peer}" if peer else "beside the limit"
        title = f"{suite.title}: {dtype}, {show_size(size)} {suite.unit}, {against}"
        memory = [r for r in records if "peak_bytes" in r.extra]
        if memory:
            _print_memory(console, title, memory)
            _not_timed(console, records)
            continue
        table = Table(title=title, title_justify="left")
        table.add_column("op")
        for head in ("slotwise", peer or "peer", "ratio", "pairs: median [quartiles]"):
            table.add_column(head, justify="right")
        heads = _heads(records)
        for head in heads:
            table.add_column(head, justify="right")
        for record in records:
            if record.status == "ok":
                table.add_row(*_row(record, heads))
        rated = [ratio for r in records if r.status == "ok" and (ratio := r.ratio)]
        if len(rated) > 1:
            table.add_section()
            mean = geometric_mean(r.minima for r in rated)
            pairs = geometric_mean(r.pairs.median for r in rated)
            table.add_row("geometric mean", "", "", _coloured(mean), f"{pairs:.2f}")
        if table.row_count:
            console.print(table)
        else:
            console.print(table.title)
        _not_timed(console, records)


def print_summary(console: Console, results: Results) -> None:
    """One sentence per suite; then by peer, with every case in which the peer is faster."""
    for overview in overviews(results):
        console.print(f"- {overview.text} [red]{overview.losses}[/]", highlight=False)
        for sentence in overview.sentences:
            console.print(f"  - {sentence.text}", highlight=False)
            if sentence.losses:
                console.print(f"    [red]slower[/]: {'; '.join(sentence.losses)}", highlight=False)


def _print_memory(console: Console, title: str, records: list[Record]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("op")
    names = list(records[0].extra["peak_bytes"])
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("arrays", justify="right")
    for record in records:
        op = OPS[record.op]
        arrays = (op.writes + 1) * record.bytes_moved // (op.reads + op.writes)
        peaks = [show_bytes(record.extra["peak_bytes"].get(name)) for name in names]
        table.add_row(_name(record), *peaks, show_bytes(arrays))
    console.print(table)


def print_targets(console: Console, results: Results) -> bool:
    """The project's targets, met or not; returns False if one that was measured is not met."""
    table = Table(title="Targets (float32 unless named, 2 threads)", title_justify="left")
    for head, side in (
        ("target", "left"),
        ("required", "right"),
        ("measured", "right"),
        ("pairs", "right"),
        ("", "left"),
        ("detail", "left"),
    ):
        table.add_column(head, justify="right" if side == "right" else "left")
    good, everything = True, "targets" in results.command
    missing = 0
    for target in TARGETS:
        found = target.verdict(results)
        if found is None and not everything:
            missing += 1
            continue
        required = target.bound
        status = target.status(found)
        if found is None:
            table.add_row(target.name, required, "-", "-", f"[dim]{status}[/]", "")
            continue
        good &= status == "met"
        table.add_row(
            target.name,
            required,
            f"{found.value:.2f}{target.unit}",
            f"{found.pairs:.2f}{target.unit}",
            f"[{'green' if status == 'met' else 'red'}]{status}[/]",
            found.detail,
        )
    if table.row_count:
        console.print(table)
    if missing and table.row_count:
        console.print(f"{missing} targets were not measured; --suite targets measures all")
    return good
