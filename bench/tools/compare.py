# SPDX-License-Identifier: Apache-2.0
"""``python -m bench compare old.json new.json``: what changed between two runs."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.results.records import LIMIT, OURS, Record, Results
from bench.results.stats import geometric_mean
from bench.results.units import show_time

# A change of less than this is called none: two runs differ by as much with nothing changed.
NOISE = 0.05


@dataclass(frozen=True)
class Change:
    """One case in both runs. ``direct`` and ``relative`` are new speed over old: above 1 is faster.

    ``direct`` compares our minima. ``relative`` compares how we stand against what was measured in
    turn with us (the peer, else the limit): it holds even if the machine itself was slower.
    """

    old: Record
    new: Record
    direct: float
    relative: float | None

    @property
    def verdict(self) -> str:
        seen = [self.direct] if self.relative is None else [self.direct, self.relative]
        if all(x < 1 - NOISE for x in seen):
            return "slower"
        if all(x > 1 + NOISE for x in seen):
            return "faster"
        return "same" if all(abs(x - 1) <= NOISE for x in seen) else "unclear"


def _standing(record: Record) -> float | None:
    """Our speed relative to what was measured in turn with us."""
    ours = record.best(OURS)
    other = record.best(record.peer or LIMIT)
    return other / ours if ours and other else None


def changes(old: Results, new: Results) -> list[Change]:
    """The cases that both runs measured, those with the largest slow-down first."""
    earlier = {r.key: r for r in old.records if r.status == "ok"}
    found = []
    for record in new.records:
        before = earlier.get(record.key)
        if before is None or record.status != "ok":
            continue
        a, b = before.best(OURS), record.best(OURS)
        if a is None or b is None:
            continue
        then, now = _standing(before), _standing(record)
        relative = now / then if now is not None and then is not None else None
        found.append(Change(before, record, a / b, relative))
    return sorted(found, key=lambda c: c.relative if c.relative is not None else c.direct)


def _differences(old: Results, new: Results) -> list[str]:
    """What makes two runs hard to compare."""
    pairs = {
        "CPU": (old.environment["cpu"]["model"], new.environment["cpu"]["model"]),
        "threads": (old.settings["threads"], new.settings["threads"]),
        "Python": (old.environment["python"], new.environment["python"]),
        "NumPy": (old.environment["numpy"], new.environment["numpy"]),
    }
    return [f"{name}: {a} then, {b} now" for name, (a, b) in pairs.items() if a != b]


def show(console: Console, old: Results, new: Results) -> int:
    """Prints the comparison; returns 1 if something became slower by both measures.

    Runs that must not be believed are not judged by: 2.
    """
    doubts = [f"{run.created}: {run.doubt}" for run in (old, new) if run.doubt]
    for doubt in doubts:
        console.print(f"[bold red]{doubt}[/]", highlight=False)
    for line in _differences(old, new):
        console.print(f"[yellow]not the same conditions[/]: {line}")
    found = changes(old, new)
    table = Table(title=f"{old.created} -> {new.created}", title_justify="left")
    table.add_column("case")
    table.add_column("beside")
    for head in ("old", "new", "speed", "speed relative"):
        table.add_column(head, justify="right")
    table.add_column("")
    colours = {"slower": "red", "faster": "green", "unclear": "yellow", "same": "dim"}
    for change in found:
        relative = "-" if change.relative is None else f"{change.relative:.2f}x"
        table.add_row(
            f"{change.new.suite} {change.new.case}",
            change.new.peer or "limit",
            show_time(change.old.best(OURS)),
            show_time(change.new.best(OURS)),
            f"{change.direct:.2f}x",
            relative,
            "not judged" if doubts else f"[{colours[change.verdict]}]{change.verdict}[/]",
        )
    console.print(table)
    if found:
        mean = geometric_mean(c.direct for c in found)
        console.print(f"{len(found)} cases in both; speed now over then, geometric mean {mean:.3f}")
    else:
        console.print("no case is in both runs")
    gone = {r.key for r in old.records} - {r.key for r in new.records}
    if gone:
        console.print(f"{len(gone)} cases of the old run were not measured in the new one")
    return 2 if doubts else int(any(c.verdict == "slower" for c in found))
