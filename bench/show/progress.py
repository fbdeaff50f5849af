# SPDX-License-Identifier: Apache-2.0
"""What is going on, while a run takes its time: a bar, or where there is no terminal, lines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.results.units import show_count

EVERY_S = 10.0  # a line


@contextlib.contextmanager
def progress(
    console: Console, total: int, limit_s: float | None
) -> Iterator[Callable[[str], None]]:
    """A function that counts one more case, and names it. The run ends after ``limit_s``."""
    if not console.is_terminal:
        yield _lines(console, total, limit_s)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console) as bar:
        task = bar.add_task("", total=total)
        yield lambda name: bar.update(task, advance=1, description=name)


def _lines(console: Console, total: int, limit_s: float | None) -> Callable[[str], None]:
    count, started = 0, time.perf_counter()
    shown = started

    def advance(name: str) -> None:
        nonlocal count, shown
        count, now = count + 1, time.perf_counter()
        if now - shown >= EVERY_S:
            shown = now
            left = (now - started) / count * (total - count)
            if limit_s is not None:
                left = min(left, max(0.0, started + limit_s - now))
            console.print(f"[{count}/{total}] {name}, {show_span(left)} left", markup=False)

    return advance


def show_span(seconds: float) -> str:
    """As people say it: seconds, minutes, hours."""
    if seconds < 90:
        return show_count(round(seconds), "second")
    if seconds < 5400:
        return show_count(round(seconds / 60), "minute")
    return f"{seconds / 3600:.1f} hours"
