# SPDX-License-Identifier: Apache-2.0
"""What a call costs where the arithmetic is nothing: 64 elements, by keywords."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results.records import Record
from bench.results.views import Brief
from bench.suites.base import Case, Options, Suite, chosen_ops


class CallOverhead(Suite):
    name = "call_overhead"
    title = "Cost of a call"
    about = "One call of each op on 64 elements, called by keywords as users write it."
    rank = 0
    asked = "small"
    is_over_sizes = True

    def cases(self, options: Options) -> list[Case]:
        sizes = (1, 64) if options.level == "full" else (64,)
        dtypes = options.dtypes or ("float32",)
        against = ("tensorflow",) if options.level == "targets" else None
        return [
            Case(self.name, op, d, s, against=against)
            for d in dtypes
            for s in sizes
            for op in chosen_ops(options)
        ]

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        return [Brief("a call on 64 elements", [r for r in records if r.size == 64])]


SUITE = CallOverhead()
