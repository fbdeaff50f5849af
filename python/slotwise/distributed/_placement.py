# SPDX-License-Identifier: Apache-2.0
"""Which row lives where: rows are dealt out to buckets, and buckets to ranks.

Row r of a table is in bucket ``reverse(r % 4096)``, the bits of the number in reverse order, so
that neighbouring rows (of vocabularies sorted by frequency, say) go to far buckets. The rows of a
table in order of their bucket, then of their number, are its stored order: that of checkpoints and
digests, whatever the number of ranks. A rank has whole buckets, in stored order too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise import _core

BITS = 12
BUCKETS = 1 << BITS


def _reversed_bits() -> NDArray[np.int64]:
    numbers, found = np.arange(BUCKETS), np.zeros(BUCKETS, np.int64)
    for bit in range(BITS):
        found |= (numbers >> bit & 1) << (BITS - 1 - bit)
    return found


BUCKET_OF = _reversed_bits()  # of a row's number modulo BUCKETS; the same map leads back


class Run(NamedTuple):
    """Units (rows of a table, elements of a chunk) of a whole that a part has in a row.

    Attributes:
        begin: the first, in the stored order of the whole.
        local: the first, in the part.
        count: how many.
    """

    begin: int
    local: int
    count: int  # type: ignore[assignment]  # (of units; a tuple's method is not asked for)


class Placement:
    """How the rows of a table are dealt out.

    Args:
        rows: of the table.
        owners: the rank of each bucket.
        ranks: how many there are.
    """

    def __init__(self, rows: int, owners: NDArray[np.int64], ranks: int) -> None:
        self.rows, self.owners, self.ranks = rows, owners, ranks

    @classmethod
    def even(cls, rows: int, ranks: int) -> Placement:
        """Equal runs of buckets."""
        return cls(rows, np.arange(BUCKETS) * ranks // BUCKETS, ranks)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The rows in each bucket."""
        return (self.rows - BUCKET_OF + BUCKETS - 1) // BUCKETS

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each bucket begins in the stored order."""
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def local_starts(self) -> NDArray[np.int64]:
        """Where each bucket begins among the rows of its rank."""
        found = np.empty(BUCKETS, np.int64)
        for rank in range(self.ranks):
            own = np.flatnonzero(self.owners == rank)
            found[own] = np.cumsum(self.counts[own]) - self.counts[own]
        return found

    def rows_of(self, rank: int) -> int:
        """How many rows a rank has."""
        return int(self.counts[self.owners == rank].sum())

    def buckets(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = BUCKET_OF[rows % BUCKETS]
        return found

    def places(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """The place of rows in the stored order."""
        found: NDArray[np.int64] = self.starts[self.buckets(rows)] + rows // BUCKETS
        return found

    @cached_property
    def _by_residue(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rank of rows, and where they begin there, by their number modulo BUCKETS."""
        return self.owners[BUCKET_OF], self.local_starts[BUCKET_OF]

    def owners_and_places(
        self, rows: Any, op: str = "ids"
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rank of each row, and its place among the rows of that rank.

        Raises:
            TypeError, ValueError: no numbers of rows; errors begin with ``op``.
        """
        owners, places = _core.place_rows(op, rows, self.rows, *self._by_residue)
        assert owners is not None
        return owners, places

    def places_here(self, rows: Any, op: str = "ids") -> NDArray[np.int64]:
        """The place of each row, if one rank has them all."""
        return _core.place_rows(op, rows, self.rows, None, self._by_residue[1])[1]

    def rows_at(self, places: NDArray[Any]) -> NDArray[np.int64]:
        """The rows at places of the stored order."""
        buckets = np.searchsorted(self.starts + self.counts, places, side="right")
        found: NDArray[np.int64] = (places - self.starts[buckets]) * BUCKETS + BUCKET_OF[buckets]
        return found

    def runs(self, rank: int) -> list[Run]:
        """What a rank has, as runs of the stored order."""
        found: list[Run] = []
        for bucket in np.flatnonzero((self.owners == rank) & (self.counts > 0)):
            begin, count = int(self.starts[bucket]), int(self.counts[bucket])
            if found and found[-1].begin + found[-1].count == begin:
                found[-1] = found[-1]._replace(count=found[-1].count + count)
            else:
                found.append(Run(begin, int(self.local_starts[bucket]), count))
        return found


def chunk(count: int, rank: int, ranks: int) -> Run:
    """The share of a rank in elements that are dealt out in equal runs."""
    begin, end = count * rank // ranks, count * (rank + 1) // ranks
    return Run(begin, 0, end - begin)


def cut(runs: Sequence[Run], begin: int, end: int) -> list[Run]:
    """The parts of runs that lie in a range of the stored order."""
    found = []
    for run in runs:
        first, last = max(run.begin, begin), min(run.begin + run.count, end)
        if first < last:
            found.append(Run(first, run.local + first - run.begin, last - first))
    return found
