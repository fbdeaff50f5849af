# SPDX-License-Identifier: Apache-2.0
"""Keras's meaning of sparse gradients, put off: against Keras, and beside the lazy meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.measure.in_turn import Plan
from bench.peers.slotwise import PEER
from bench.results.records import OURS, Record
from bench.results.stats import Ratio
from bench.results.views import ROWS_RATE, TIMES, Brief, Column
from bench.suites.base import Case, Options, Suite
from bench.suites.sparse import workloads
from bench.work.base import DTYPES, Work
from bench.work.contestant import Subject
from bench.work.ops import Scalar
from bench.work.optimizers import OPTIMIZERS, TurnsWork
from bench.work.rows import Batch

NAME, LAZY = "deferred", "lazy"
OPS = (
    *("legacy.Adam", "legacy.Nadam", "legacy.RMSprop"),
    *("Adam", "AdamWAverage", "Ftrl", "SGDMomentum"),
)
_BATCHES = 16


@dataclass(frozen=True)
class TurnsCase(Case):
    """``size`` is the number of elements of the gradient."""

    batch: Batch | None = None

    def work(self, terms: Mapping[str, Scalar] | None = None) -> Work:
        return TurnsWork(
            optimizer=OPTIMIZERS[self.op],
            dtype=DTYPES[self.dtype],
            batch=self.batch,
            clips=dict(terms or {}),
            sparse="deferred",
            batches=_BATCHES,
        )


def over_lazy(record: Record) -> Ratio | None:
    """Our time over that of the lazy meaning."""
    lazy, ours = record.seconds.get(LAZY), record.seconds.get(OURS)
    return Ratio.of(lazy, ours) if lazy and ours else None


class Deferred(Suite):
    name = NAME
    title = "Deferred updates"
    about = (
        f"Rows of a table gathered, then a step on them as Keras means it, {_BATCHES} batches in "
        'turn: with sparse="deferred", by Keras itself, and, in the same rounds, with '
        'sparse="lazy", which trains another model.'
    )
    unit = "ids"
    rank = 10
    asked = "sparse"
    method = "turns"
    columns = (
        *TIMES,
        Column("over lazy", lambda r: f"{x.minima:.2f}" if (x := over_lazy(r)) else None),
        ROWS_RATE,
    )

    def cases(self, options: Options) -> list[Case]:
        batches = workloads(options.level)
        chosen = [name for name in OPS if not options.ops or name in options.ops]
        return [
            TurnsCase(
                *(NAME, name, dtype, batch.count * batch.width, batch.label),
                against=("tf_keras",),
                batch=batch,
            )
            for dtype in options.dtypes or ("float32",)
            for batch in batches
            if batch.zipf is not None
            for name in chosen
            if name in ("legacy.Adam", "AdamWAverage") or batch is batches[0]
        ]

    def measure(
        self,
        subjects: Mapping[str, Subject],
        work: Work,
        record: Record,
        threads: int,
        plan: Plan,
    ) -> None:
        assert isinstance(work, TurnsWork)
        lazy = PEER.turns(replace(work, sparse="lazy"))
        super().measure({**subjects, LAZY: lazy}, work, record, threads, plan)

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        return [Brief("a step whose other rows are put off", records)]


SUITE = Deferred()
