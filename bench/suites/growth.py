"""What a row costs in a larger and larger table: caches and page tables that no longer hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import psutil

from bench.measure.in_turn import Plan
from bench.peers.slotwise import PEER as OURS
from bench.results.records import BASE, Record
from bench.results.units import show_size
from bench.suites.base import Case, Options
from bench.suites.sparse import MERGE, Sparse, SparseCase
from bench.work.base import Work
from bench.work.contestant import Peer, Subject, Unsupported
from bench.work.rows import Batch, SparseWork

MI = 1 << 20
_WIDTH, _IDS, _BATCHES = 16, 1 << 16, 16
_ROWS = {"targets": (64 * MI,), "quick": (4 * MI,), "full": (4 * MI, 16 * MI, 64 * MI)}


class Growth(Sparse):
    name = "growth"
    title = "Growth of the table"
    about = (
        f"Merged Adagrad, rows of {_WIDTH} elements, batches of 64 Ki uniform ids, {_BATCHES} "
        "different ones in turn so that caches do not keep their rows: the cost of a touched row "
        "over its cost in a table of 1 Mi rows, measured in the same rounds."
    )
    unit = "rows"
    rank = 7

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
        super().measure({**subjects, BASE: OURS.sparse(base)}, work, record, threads, plan)

    def subject(self, contestant: Peer, work: Work) -> Subject:
        assert isinstance(work, SparseWork)
        needed = 2 * work.batch.rows * work.batch.width * work.dtype.itemsize
        if needed > 0.8 * psutil.virtual_memory().available:
            raise Unsupported(f"needs {needed / 2**30:.0f} GiB of memory")
        return super().subject(contestant, work)


SUITE = Growth()
