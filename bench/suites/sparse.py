# SPDX-License-Identifier: Apache-2.0
"""Updates of the rows that a batch touches: distinct ids, and equal ids merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.results.records import Record
from bench.results.views import LIMITS, ROWS_RATE, TIMES, Brief, Column
from bench.suites.base import Case, Options, Suite
from bench.work.base import DTYPES, Work
from bench.work.ops import SPARSE_OPS, Scalar
from bench.work.rows import Batch, SparseWork

QUICK = (Batch(1 << 18, 64, 1 << 14),)
LARGE = (Batch(2_000_000, 64, 65_536), Batch(8_000_000, 16, 262_144))
LAWS = (1.2, None)

DISTINCT = ("AdagradV2", "Ftrl", "RMSProp", "KerasMomentum")
MERGE, ROW_WISE = "SparseApplyAdagradV2", "SparseApplyRowWiseAdagrad"


@dataclass(frozen=True)
class SparseCase(Case):
    """``size`` is the number of ids of the batch (before any are dropped to make them distinct)."""

    batch: Batch = field(default_factory=lambda: QUICK[0])
    duplicates: str = "sequential"
    batches: int = 1
    one_sign: bool = False

    def work(self, terms: Mapping[str, Scalar] | None = None) -> Work:
        return SparseWork(
            op=SPARSE_OPS[self.op],
            dtype=DTYPES[self.dtype],
            override={**self.override, **(terms or {})},
            batch=self.batch,
            duplicates=self.duplicates,
            batches=self.batches,
            one_sign=self.one_sign,
        )


def workloads(level: str) -> list[Batch]:
    """The tables and laws of a level; the large ones are those that the targets name."""
    return [
        Batch(b.rows, b.width, b.count, law)
        for b in (QUICK if level == "quick" else LARGE)
        for law in LAWS
    ]


class Sparse(Suite):
    name = "sparse"
    title = "Sparse updates"
    about = (
        "One call on a table. Distinct: the ids of a batch, each once. Merged: the gradients of "
        "equal ids are summed, and the sum is applied once."
    )
    limits = True
    limit = "a plain loop over as many bytes"
    unit = "ids"
    rank = 4
    asked = "sparse"
    method = "sparse"
    columns: Sequence[Column] = (*TIMES, ROWS_RATE, *LIMITS)

    def cases(self, options: Options) -> list[Case]:
        targets = options.level == "targets"
        found: list[Case] = []
        for dtype in options.dtypes or ("float32",):
            for number, batch in enumerate(workloads(options.level)):
                chosen = [f"SparseApply{name}" for name in DISTINCT]
                if options.ops or (options.level == "full" and number < len(LAWS)):
                    chosen = [n for n in SPARSE_OPS if not options.ops or n in options.ops]
                against = ("tensorflow",) if targets else None
                found += [_distinct(op, dtype, batch, against) for op in chosen]
                for op, peers in ((MERGE, ("tf_keras", "fbgemm")), (ROW_WISE, ("fbgemm",))):
                    if not options.ops or op in options.ops:
                        found.append(merged(self.name, op, dtype, batch, peers))
        return found

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        distinct = [r for r in records if r.variant.endswith("distinct")]
        merging = [r for r in records if r.op == MERGE and r.variant.endswith("merged")]
        return [
            Brief("rows of a table, distinct ids", distinct),
            Brief("gradients of equal ids summed, then Adagrad", merging, first=False),
        ]


def _distinct(op: str, dtype: str, batch: Batch, against: tuple[str, ...] | None) -> SparseCase:
    one = Batch(batch.rows, batch.width, batch.count, batch.zipf, distinct=True)
    variant = f"{batch.label}, distinct"
    return SparseCase("sparse", op, dtype, batch.count, variant, against=against, batch=one)


def merged(
    suite: str, op: str, dtype: str, batch: Batch, against: tuple[str, ...] | None = None
) -> SparseCase:
    variant = f"{batch.label}, merged"
    return SparseCase(
        suite, op, dtype, batch.count, variant, against=against, batch=batch, duplicates="sum"
    )


SUITE = Sparse()
