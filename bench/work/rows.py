# SPDX-License-Identifier: Apache-2.0
"""The work on rows of a table: ids as the workloads draw them, updates, gather and coalesce."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.results.records import LIMIT
from bench.results.units import show_size
from bench.work.base import PERIOD, Array, RuleWork, Work, drawn, filled
from bench.work.contestant import State, Subject

Ids = NDArray[np.int64]

# Spreads the most frequent ids over the table (Knuth's multiplicative hash).
SPREAD = 2654435761


@lru_cache(maxsize=32)
def _draw(rows: int, count: int, zipf: float | None, distinct: bool, seed: int) -> Ids:
    rng = np.random.default_rng(seed)
    if zipf is None:
        ids = rng.integers(0, rows, count)
    else:
        found = np.empty(0, np.int64)
        while found.size < count:  # ids beyond the table are drawn again
            drawn_ids = rng.zipf(zipf, 4 * count) - 1
            found = np.concatenate([found, drawn_ids[drawn_ids < rows]])
        ids = found[:count] * SPREAD % rows
    if distinct:  # in order of first appearance
        ids = ids[np.sort(np.unique(ids, return_index=True)[1])]
    ids.flags.writeable = False
    return ids


@dataclass(frozen=True)
class Batch:
    """A table's shape and the ids of a batch. ``zipf`` is the exponent, None for uniform ids."""

    rows: int
    width: int
    count: int
    zipf: float | None = None
    distinct: bool = False
    seed: int = 0

    @property
    def ids(self) -> Ids:
        return _draw(self.rows, self.count, self.zipf, self.distinct, self.seed)

    @cached_property
    def touched(self) -> int:
        """Number of distinct ids."""
        return int(np.unique(self.ids).size)

    @cached_property
    def seen(self) -> Ids:
        """Rows whose values are compared: the touched ones and their neighbours."""
        return np.unique(np.concatenate([self.ids, (self.ids + 1) % self.rows]))

    def in_turn(self, count: int) -> Iterator[Ids]:
        """The ids of so many batches, one after another, without end; those of this are first."""
        kept = [replace(self, seed=self.seed + i).ids for i in range(count)]
        while True:
            yield from kept

    @property
    def table(self) -> str:
        return f"{show_size(self.rows)} x {self.width}"

    @property
    def law(self) -> str:
        return "uniform" if self.zipf is None else f"Zipf {self.zipf}"

    @property
    def label(self) -> str:
        return f"{self.table}, {self.law}"

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "ids": int(self.ids.size),
            "touched": self.touched,
            "table_rows": self.rows,
            "width": self.width,
            "law": self.law,
        }


def _bytes(batch: Batch, itemsize: int) -> int:
    """Bytes of one gradient row per id, and of the ids."""
    return int(batch.ids.size) * (batch.width * itemsize + 8)


def before_rows(period: Array, batch: Batch, row: int, part: slice) -> Array:
    """Start values of a part of the rows that are compared, ``row`` elements each."""
    rows = batch.seen[part.start // row : -(-part.stop // row)]
    old = period.reshape(-1, row)[rows % (PERIOD // row)].reshape(-1)
    first = part.start % row
    return old[first : first + part.stop - part.start]


@dataclass(frozen=True, kw_only=True)
class SparseWork(RuleWork):
    """A sparse op on a batch. ``batches`` above 1: as many different ones, call after call.

    ``one_sign``: of gradients, so that sums in any order agree.
    """

    batch: Batch
    duplicates: str = "sequential"
    batches: int = 1
    one_sign: bool = False

    def _row(self, name: str) -> int:
        """Elements of a row of var or a slot."""
        return 1 if name in self.op.per_row else self.batch.width

    @property
    def bytes_moved(self) -> int:
        """Gradients and ids are read once, touched rows read and written once."""
        row = sum(self._row(name) for name in self.op.updated) * self.dtype.itemsize
        return _bytes(self.batch, self.dtype.itemsize) + 2 * row * self.batch.touched

    @property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        """As many bytes as the update has to move, in arrays."""
        reads, writes = self.op.reads, self.op.writes
        return {LIMIT: (reads, writes, self.bytes_moved // (reads + writes))}

    @property
    def facts(self) -> dict[str, Any]:
        return {**self.batch.facts, "duplicates": self.duplicates}

    def before(self, name: str, part: slice) -> Array:
        return before_rows(self.pattern(name), self.batch, self._row(name), part)

    def tables(self, make: Callable[..., Array] = np.empty) -> dict[str, Array]:
        """var and the slots, fresh."""
        found = {}
        for name in self.op.updated:
            row = self._row(name)
            flat = filled(self.pattern(name), self.batch.rows * row, make)
            found[name] = flat if name in self.op.per_row else flat.reshape(-1, row)
        return found

    def gradient(self) -> Array:
        shape = (self.batch.ids.size, self.batch.width)
        pattern = self.pattern(self.op.gradient)
        values = np.abs(pattern) if self.one_sign else pattern
        return filled(values, math.prod(shape)).reshape(shape)

    def in_turn(self) -> Iterator[Ids]:
        """The ids of one call after another, without end."""
        return self.batch.in_turn(self.batches)


@dataclass(frozen=True, kw_only=True)
class RowsWork(Work):
    """Reading rows, or merging gradients of equal ids: ``call`` is gather or coalesce.

    ``out``: whether the result goes to an array that is there already; ``exact``: whether nothing
    is rounded before the end of a sum; ``one_sign``: of gradients, so that sums in any order agree.
    """

    call: str
    batch: Batch
    out: bool = False
    exact: bool = False
    one_sign: bool = False

    @property
    def results(self) -> int:
        """Rows that are written."""
        return self.batch.touched if self.call == "coalesce" else int(self.batch.ids.size)

    @property
    def bytes_moved(self) -> int:
        """Each row that is needed is read once (a table's row, or a gradient's)."""
        read = self.batch.ids.size if self.call == "coalesce" else self.batch.touched
        rows = int(read) + self.results
        return rows * self.batch.width * self.dtype.itemsize + 8 * int(self.batch.ids.size)

    @property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        return {LIMIT: (2, 1, self.bytes_moved // 3)}

    @property
    def facts(self) -> dict[str, Any]:
        return self.batch.facts

    def before(self, name: str, part: slice) -> Array:
        return np.zeros(part.stop - part.start, self.dtype)

    def table(self, make: Callable[..., Array] = np.empty) -> Array:
        """The table to read, or the gradients to merge."""
        rows = int(self.batch.ids.size) if self.call == "coalesce" else self.batch.rows
        pattern = drawn(self.seed, 0, PERIOD, self.one_sign).astype(self.dtype)
        return filled(pattern, rows * self.batch.width, make).reshape(rows, self.batch.width)

    def subject(
        self,
        statement: str,
        names: dict[str, Any],
        arrays: Callable[[Any], Any] = lambda found: found,
        keep: Any = None,
    ) -> Subject:
        """An expression whose value is the result; ``arrays`` makes NumPy arrays of it.

        The result is the rows; of a coalesce, the ids and the rows.
        """

        def state() -> State:
            found = arrays(eval(statement, dict(names)))
            return [self.by_id(*found) if self.call == "coalesce" else {"rows": found}]

        return Subject(statement, names, state, keep=keep)

    def by_id(self, ids: Array, rows: Array) -> dict[str, Array]:
        """The state of a coalesce, whatever the order of its result."""
        order = np.argsort(ids, kind="stable")
        return {"ids": ids[order], "rows": rows[order]}
