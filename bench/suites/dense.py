# SPDX-License-Identifier: Apache-2.0
"""Every dense op on one contiguous array, from a few elements to far beyond the caches."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results.records import Record
from bench.results.units import KI, MI
from bench.results.views import Brief
from bench.suites.base import Case, Options, Suite, chosen_ops
from bench.work.base import DTYPES

_SIZES = {
    "targets": (16 * KI, 256 * KI, 64 * MI),
    "quick": (16 * KI, 256 * KI, 4 * MI),
    "full": (64, KI, 16 * KI, 256 * KI, 4 * MI, 64 * MI),
}

POW = {"lr_power": -0.6}
POW_VARIANT = "lr_power=-0.6"


class Dense(Suite):
    name = "dense"
    title = "Dense updates"
    about = "One call of each op on one array; all arrays warm from the calls before."
    rank = 1
    limits = True
    is_over_sizes = True

    def cases(self, options: Options) -> list[Case]:
        level = options.level
        dtypes = options.dtypes or (tuple(DTYPES) if level == "full" else ("float32",))
        sizes = options.sizes or _SIZES[level]
        ops = chosen_ops(options)
        against = ("tensorflow",) if level == "targets" else None
        found = [
            Case(self.name, op, d, s, against=against)
            for d in dtypes
            for s in sizes
            for op in ops
            if options.sizes or (d, s) != ("float32", 64)  # the cost of a call: once
        ]
        if not options.sizes and "ApplyFtrl" in ops and "float32" in dtypes:
            found.append(
                Case(self.name, "ApplyFtrl", "float32", 4 * MI, POW_VARIANT, POW, against=against)
            )
        if level == "targets" and not (options.dtypes or options.sizes):
            found += [
                Case(self.name, op, dtype, 64 * MI, against=())
                for dtype in ("float16", "bfloat16")
                for op in ops
            ]
        return found

    def question(self, record: Record) -> str:
        return "small" if record.size <= 16 * KI else "large"

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        plain = [r for r in records if r.dtype == "float32" and not r.variant]
        largest = max((r.size for r in plain), default=0)
        sizes = sorted({r.size for r in plain} & {16 * KI, 256 * KI, largest})
        return [
            Brief(f"an update of {self.size(mine[0])} elements", mine, first=size == largest)
            for size in sizes
            if (mine := [r for r in plain if r.size == size])
        ]


SUITE = Dense()
