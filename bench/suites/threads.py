# SPDX-License-Identifier: Apache-2.0
"""What reports say about thread scaling. ``tools/threads.py`` measures it, in further processes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from bench.results.records import Record
from bench.results.views import Chart, Section, contestants
from bench.suites.base import Case, Options, Suite


class Threads(Suite):
    name = "threads"
    title = "Thread scaling"
    about = "The same update with more and more threads, each number in a process of its own."
    limits = True
    rank = 13

    def cases(self, options: Options) -> list[Case]:
        return []

    def place(self, record: Record) -> str:
        return f"{record.variant} ({self.size(record)})"

    def sections(self, records: Sequence[Record]) -> list[Section]:
        """One chart per op, size and work that was measured with several numbers of threads."""
        charts = []
        for (*_, work), members in groupby(sorted(records, key=_work), _work):
            mine = list(members)
            if len({r.extra["threads"] for r in mine}) >= 2:
                op = mine[0].label.partition(", ")[0]
                lines = contestants(
                    mine, lambda r: int(r.extra["threads"]), lambda r, name: r.rate(name), 1e9
                )
                title = f"{op}, {work or self.size(mine[0])}"
                charts.append(Chart(title, lines, "threads", "GB/s"))
        about = (
            "Bytes that the update has to read and write, per second; the dashed line is the limit "
            "with as many threads. Both axes are logarithmic."
        )
        return [Section("Rate over threads", about, charts)] if charts else []


def _work(record: Record) -> tuple[str, str, int, str]:
    return record.op, record.dtype, record.size, record.variant.partition(", ")[2]


SUITE = Threads()
