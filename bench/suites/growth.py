# SPDX-License-Identifier: Apache-2.0
"""What a row costs in a larger and larger table: caches and page tables that no longer hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import psutil

from bench.measure.in_turn import Plan
from bench.peers.base import Peer
from bench.peers.slotwise import PEER
from bench.results.records import OURS, Record
from bench.results.stats import Ratio
from bench.results.units import MI, show_size
from bench.results.views import LIMITS, ROWS_RATE, TIMES, Brief, Chart, Column, Grid, Line, Section
from bench.suites.base import Case, Options
from bench.suites.sparse import MERGE, Sparse, SparseCase
from bench.work.base import Work
from bench.work.contestant import Subject, Unsupported
from bench.work.rows import Batch, SparseWork

_WIDTH, _IDS, _BATCHES = 16, 1 << 16, 16
_ROWS = {"targets": (64 * MI,), "quick": (4 * MI,), "full": (4 * MI, 16 * MI, 64 * MI)}


BASE = "1 Mi rows"  # slotwise on a small table, beside a large one
AT_MOST = 1.6  # what the cost may grow to


def growth(record: Record) -> Ratio | None:
    """Cost of a touched row over its cost in the base table."""
    small, large = record.seconds.get(BASE), record.seconds.get(OURS)
    if not small or not large:
        return None
    scale = record.extra["base_touched"] / record.extra["touched"]
    return Ratio.of(small, [scale * t for t in large])


class Growth(Sparse):
    name = "growth"
    title = "Growth of the table"
    about = (
        f"Merged Adagrad, rows of {_WIDTH} elements, batches of 64 Ki uniform ids, {_BATCHES} "
        "different ones in turn so that caches do not keep their rows: the cost of a touched row "
        "over its cost in a table of 1 Mi rows, measured in the same rounds."
    )
    unit = "rows"
    rank = 9
    has_ratios = False
    asked = "sparse"
    columns = (
        *TIMES,
        Column("growth", lambda r: f"{g.minima:.2f}" if (g := growth(r)) else None),
        ROWS_RATE,
        *LIMITS,
    )

    def cases(self, options: Options) -> list[Case]:
        if options.ops and MERGE not in options.ops:
            return []
        return [
            SparseCase(
                self.name,
                MERGE,
                "float32",
                rows,
                f"{show_size(rows)} rows",
                against=(),
                batch=Batch(rows, _WIDTH, _IDS),
                duplicates="sum",
                batches=_BATCHES,
            )
            for rows in options.sizes or _ROWS[options.level]
        ]

    def measure(
        self,
        subjects: Mapping[str, Subject],
        work: Work,
        record: Record,
        threads: int,
        plan: Plan,
    ) -> None:
        assert isinstance(work, SparseWork)
        base = replace(work, batch=replace(work.batch, rows=MI))
        record.extra["base_touched"] = base.batch.touched
        super().measure({**subjects, BASE: PEER.sparse(base)}, work, record, threads, plan)

    def subject(self, contestant: Peer, work: Work) -> Subject:
        assert isinstance(work, SparseWork)
        needed = 2 * work.batch.rows * work.batch.width * work.dtype.itemsize
        if needed > 0.8 * psutil.virtual_memory().available:
            raise Unsupported(f"needs {needed / 2**30:.0f} GiB of memory")
        return super().subject(contestant, work)

    def _grown(self, records: Sequence[Record]) -> list[tuple[Record, Ratio]]:
        return sorted(((r, g) for r in records if (g := growth(r))), key=lambda pair: pair[0].size)

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        return []

    def sentence(self, dtype: str, peer: str, records: Sequence[Record]) -> str:
        """How much more a touched row costs, by the size of the table."""
        grown = ", ".join(
            f"{g.minima:.2f} times at {self.size(r)}" for r, g in self._grown(records)
        )
        return f"{self.title}, {dtype}: a touched row costs, of its cost at {BASE}, {grown}."

    def grids(self, records: Sequence[Record]) -> list[Grid]:
        grown = self._grown(records)
        head = ["rows of the table", show_size(MI), *(show_size(r.size) for r, _ in grown)]
        costs = ["cost of a row", "1.00", *(f"{g.minima:.2f}" for _, g in grown)]
        return [Grid("float32", [head, costs])] if grown else []

    def sections(self, records: Sequence[Record]) -> list[Section]:
        grown = self._grown(records)
        if not grown:
            return []
        line = Line(
            OURS,
            {MI: 1.0} | {r.size: g.minima for r, g in grown},
            {r.size: (min(g.minima, g.pairs.low), max(g.minima, g.pairs.high)) for r, g in grown},
        )
        axes = ("rows of the table", "cost of a row, times")
        chart = Chart("Merged Adagrad, float32", [line], *axes, show_size, AT_MOST)
        about = "Lines across a point span the quartiles of the ratios of single rounds."
        return [Section("", about, [chart])]


SUITE = Growth()
