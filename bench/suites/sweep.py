# SPDX-License-Identifier: Apache-2.0
"""Merged Adagrad over the width of a row and the skew of the ids."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from bench.results.records import OURS, Record
from bench.results.views import Brief, Chart, Line, Section, best_at, contestants
from bench.suites.base import Case, Options
from bench.suites.sparse import MERGE, Sparse, merged
from bench.work.rows import Batch

_ROWS, _IDS = 1 << 20, 1 << 16
_WIDTHS = {"quick": (4, 32, 256), "full": (1, 2, 4, 8, 16, 32, 64, 128, 256)}
_AXES = ("elements in a row", "million rows/s")
_LAWS = {"quick": (None, 1.2), "full": (None, 1.05, 1.2, 1.5)}


class Sweep(Sparse):
    name = "sweep"
    title = "Width and skew"
    about = (
        "Adagrad that merges equal ids, on 1 Mi rows by batches of 64 Ki ids: how many rows of the "
        "gradient it takes per second."
    )
    rank = 8
    asked = "sparse"

    def cases(self, options: Options) -> list[Case]:
        if options.level == "targets" or (options.ops and MERGE not in options.ops):
            return []
        level = options.level
        return [
            merged(self.name, MERGE, dtype, Batch(_ROWS, width, _IDS, law), ("tf_keras", "fbgemm"))
            for dtype in options.dtypes or ("float32",)
            for law in _LAWS[level]
            for width in _WIDTHS[level]
        ]

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        return []

    def sections(self, records: Sequence[Record]) -> list[Section]:
        """Rows of the gradient per second over the width of a row: by law; ours of all laws."""
        charts = []
        for dtype, members in groupby(sorted(records, key=_dtype), _dtype):
            mine, by_law = list(members), []
            for law in sorted({r.extra["law"] for r in mine}, key=lambda x: (x != "uniform", x)):
                rows = [r for r in mine if r.extra["law"] == law]
                lines = contestants(rows, _width, lambda r, name: r.rows_rate(name), 1e6)
                by_law.append(Line(law, best_at(rows, _width, lambda r: r.rows_rate(OURS), 1e6)))
                charts.append(Chart(f"{law} ids, {dtype}", lines[1:], *_AXES))  # not the limit
            charts.append(Chart(f"slotwise, by skew, {dtype}", by_law, *_AXES))
        return [Section("", "Both axes are logarithmic.", charts)]


def _dtype(record: Record) -> str:
    return record.dtype


def _width(record: Record) -> int:
    return int(record.extra["width"])


SUITE = Sweep()
