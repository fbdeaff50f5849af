# SPDX-License-Identifier: Apache-2.0
"""Bags of ids: rows pooled, steps by gradients of bags, and sums that no order changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.measure.in_turn import Plan
from bench.peers.base import Peer
from bench.peers.slotwise import Otherwise
from bench.results.records import OURS, Record
from bench.results.views import LIMITS, ROWS_RATE, TIMES, Brief, Column
from bench.suites.base import Case, Options, Suite
from bench.suites.memory import peak_beyond
from bench.suites.rows import RowsCase
from bench.suites.sparse import MERGE, QUICK, merged, workloads
from bench.work.bags import Bags, BagStepWork, PooledWork
from bench.work.base import DTYPES, Work
from bench.work.contestant import Subject
from bench.work.ops import Scalar
from bench.work.optimizers import OPTIMIZERS
from bench.work.rows import Batch, RowsWork, SparseWork

NAME = "bags"
POOL, STEP, COALESCE = "gather_pooled", "legacy.Adagrad", "coalesce"
PEERS = ("torch", "fbgemm")
EXPANDED = Otherwise("expanding first", expands=True)
EXACT = Otherwise("exact", duplicates="exact")
EXACT_ROWS = Otherwise("exact", exact=True)

_LENGTHS = ((1, 1), (1, 40))
_OF_A_STEP = (20, 20)
_BEYOND = "beyond"
_PEAKS = 3  # the least of so many: huge pages, which the kernel gives now and then, only add
_METHODS: dict[type[Work], str] = {
    PooledWork: "pooled",
    BagStepWork: "bag_step",
    SparseWork: "sparse",
    RowsWork: "rows",
}


@dataclass(frozen=True)
class BagsCase(Case):
    """``size`` is the number of ids."""

    bags: Bags = field(default_factory=lambda: Bags(QUICK[0]))

    def work(self, terms: Mapping[str, Scalar] | None = None) -> Work:
        dtype = DTYPES[self.dtype]
        if self.op == POOL:
            return PooledWork(dtype=dtype, bags=self.bags)
        return BagStepWork(dtype=dtype, optimizer=OPTIMIZERS[self.op], bags=self.bags)


def bags_case(
    suite: str,
    op: str,
    dtype: str,
    bags: Bags,
    against: tuple[str, ...],
    beside: tuple[Peer, ...] = (),
) -> BagsCase:
    size = bags.tables * bags.batch.count
    return BagsCase(suite, op, dtype, size, bags.label, against=against, beside=beside, bags=bags)


def beyond_an_id(record: Record, contestant: str) -> float | None:
    """Peak bytes for each id that a call takes beyond its arrays."""
    found = record.extra.get(_BEYOND, {}).get(contestant)
    return None if found is None else found / record.extra["ids"]


def _beyond(contestant: Callable[[Record], str]) -> Callable[[Record], str | None]:
    def cell(record: Record) -> str | None:
        found = beyond_an_id(record, contestant(record))
        return None if found is None else f"{found:.1f} B"

    return cell


class BagsSuite(Suite):
    name = NAME
    title = "Bags of ids"
    about = (
        "Rows of a table summed by bags; steps of Adagrad by gradients of bags of 20 ids, and by "
        "gradients of ids that are expanded from them first; sums of the gradients of equal ids in "
        "order, and exact ones. Results are new arrays. Beyond: the peak memory of a call beside "
        "its arrays, for each id."
    )
    limits = True
    limit = "a plain loop over as many bytes"
    unit = "ids"
    rank = 6
    asked = "sparse"
    method = "pooled"
    columns: Sequence[Column] = (
        *TIMES,
        ROWS_RATE,
        *LIMITS,
        Column("beyond", _beyond(lambda r: OURS)),
        Column("theirs", _beyond(lambda r: r.peer)),
    )

    def cases(self, options: Options) -> list[Case]:
        found: list[Case] = []
        for dtype in options.dtypes or ("float32",):
            for batch in workloads(options.level):
                for lengths in _LENGTHS:
                    found.append(bags_case(NAME, POOL, dtype, Bags(batch, lengths), PEERS))
                step = Bags(batch, _OF_A_STEP)
                found.append(bags_case(NAME, STEP, dtype, step, (), (EXPANDED,)))
                found += _sums(dtype, batch)
        return [case for case in found if not options.ops or case.op in options.ops]

    def subject(self, contestant: Peer, work: Work) -> Subject:
        subject: Subject = getattr(contestant, _METHODS[type(work)])(contestant.given(work))
        return subject

    def measure(
        self,
        subjects: Mapping[str, Subject],
        work: Work,
        record: Record,
        threads: int,
        plan: Plan,
    ) -> None:
        if isinstance(work, BagStepWork) and work.bags.tables == 1:
            record.extra[_BEYOND] = {
                name: min(peak_beyond(s) for _ in range(_PEAKS)) for name, s in subjects.items()
            }
        super().measure(subjects, work, record, threads, plan)

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        pooled = [r for r in records if r.op == POOL]
        return [Brief(f"`{POOL}`", pooled, first=False)]


def _sums(dtype: str, batch: Batch) -> list[Case]:
    """Sums in order, beside exact ones."""
    rows = RowsCase(NAME, COALESCE, dtype, batch.count, batch.label, against=(), batch=batch)
    return [
        replace(merged(NAME, MERGE, dtype, batch, ()), beside=(EXACT,), one_sign=True),
        replace(rows, beside=(EXACT_ROWS,), one_sign=True),
    ]


SUITE = BagsSuite()
