# SPDX-License-Identifier: Apache-2.0
"""Reading rows of a table, and merging the gradients of equal ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.results.records import Record
from bench.results.views import LIMITS, ROWS_RATE, TIMES, Brief
from bench.suites.base import Case, Options, Suite
from bench.suites.sparse import QUICK, workloads
from bench.work.base import DTYPES, Work
from bench.work.ops import Scalar
from bench.work.rows import Batch, RowsWork


@dataclass(frozen=True)
class RowsCase(Case):
    batch: Batch = field(default_factory=lambda: QUICK[0])
    out: bool = False
    one_sign: bool = False

    def work(self, terms: Mapping[str, Scalar] | None = None) -> Work:
        return RowsWork(
            dtype=DTYPES[self.dtype],
            call=self.op,
            batch=self.batch,
            out=self.out,
            one_sign=self.one_sign,
        )


class Rows(Suite):
    name = "rows"
    title = "Coalesce and gather"
    about = (
        "Sums of the gradients of equal ids; rows of a table. Results are new arrays, unless the "
        "case says out."
    )
    limits = True
    limit = "a plain loop over as many bytes"
    unit = "ids"
    rank = 5
    asked = "sparse"
    method = "rows"
    columns = (*TIMES, ROWS_RATE, *LIMITS)

    def cases(self, options: Options) -> list[Case]:
        targets = options.level == "targets"
        found: list[Case] = []
        for dtype in options.dtypes or ("float32",):
            for batch in workloads(options.level):
                for call, out in (("coalesce", False), ("gather", False), ("gather", True)):
                    against: tuple[str, ...] | None = None
                    if targets:
                        against = ("tensorflow", "torch")
                        if out:
                            continue
                    if not options.ops or call in options.ops:
                        variant = f"{batch.label}, out" if out else batch.label
                        found.append(
                            RowsCase(
                                self.name,
                                call,
                                dtype,
                                batch.count,
                                variant,
                                against=against,
                                batch=batch,
                                out=out,
                            )
                        )
        return found

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        new = [r for r in records if not r.variant.endswith("out")]
        return [
            Brief(f"`{call}`", [r for r in new if r.op == call], first=False)
            for call in ("coalesce", "gather")
        ]


SUITE = Rows()
