# SPDX-License-Identifier: Apache-2.0
"""The work on bags of ids: pooling rows of tables, and steps by the gradients of bags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from bench.results.records import LIMIT
from bench.results.units import show_size
from bench.work.base import PERIOD, Array, Work, drawn, filled
from bench.work.contestant import State
from bench.work.optimizers import GRADIENT, StepWork
from bench.work.rows import Batch, Ids

# Of how many ids of a table the rows are compared, with their neighbours.
_COMPARED = 2048


@lru_cache(maxsize=64)
def _bounds(count: int, lengths: tuple[int, int], seed: int) -> Ids:
    least, most = lengths
    sizes = np.random.default_rng([seed, 1]).integers(least, most + 1, count // least + 1)
    starts = np.cumsum(sizes) - sizes
    bounds = np.append(starts[starts < count], count)
    bounds.flags.writeable = False
    return bounds


@dataclass(frozen=True)
class Bags:
    """Ids of one table or of several, in bags.

    ``batch`` is each table's, with ids of its own; ``lengths`` are the fewest and the most ids of a
    bag, all between being as likely. The last bag has what is left.
    """

    batch: Batch
    lengths: tuple[int, int] = (1, 1)
    tables: int = 1

    @cached_property
    def batches(self) -> list[Batch]:
        return [replace(self.batch, seed=self.batch.seed + k) for k in range(self.tables)]

    @property
    def ids(self) -> list[Ids]:
        """Of each table."""
        return [batch.ids for batch in self.batches]

    @property
    def bounds(self) -> Ids:
        """Where the bags of a table begin, and where the last one ends."""
        return _bounds(self.batch.count, self.lengths, self.batch.seed)

    @property
    def count(self) -> int:
        """Bags of a table."""
        return int(self.bounds.size) - 1

    @property
    def table_shapes(self) -> tuple[tuple[int, int], ...]:
        return ((self.batch.rows, self.batch.width),) * self.tables

    @property
    def shape(self) -> tuple[int, int]:
        """Of the pooled rows of all tables beside each other, and of their gradient."""
        return self.count, self.tables * self.batch.width

    @cached_property
    def touched(self) -> int:
        """Number of distinct rows."""
        return sum(batch.touched for batch in self.batches)

    @cached_property
    def seen(self) -> list[Ids]:
        """Rows of each table whose values are compared: some that are touched, and neighbours."""
        some = [ids[:_COMPARED] for ids in self.ids]
        return [np.unique(np.concatenate([ids, (ids + 1) % self.batch.rows])) for ids in some]

    @property
    def label(self) -> str:
        least, most = self.lengths
        bags = f"bags of {least}" if least == most else f"bags of {least} to {most}"
        if self.tables == 1:
            return f"{self.batch.label}, {bags}"
        tables = f"{self.tables} tables of {self.batch.table}"
        return f"{tables}, {show_size(self.count)} {bags}, {self.batch.law}"

    @property
    def facts(self) -> dict[str, Any]:
        ids = self.tables * int(self.batch.ids.size)
        bags = {"tables": self.tables, "bags": self.tables * self.count, "lengths": self.lengths}
        return {**self.batch.facts, "ids": ids, "touched": self.touched, **bags}

    def bytes_moved(self, arrays: int, itemsize: int) -> int:
        """Ids and a row for each bag once, each touched row of so many arrays once."""
        rows = self.tables * self.count + arrays * self.touched
        return rows * self.batch.width * itemsize + 8 * self.tables * int(self.batch.ids.size)


@dataclass(frozen=True, kw_only=True)
class PooledWork(Work):
    """Sums of rows by bags. ``apart``: table by table, if there are several."""

    bags: Bags
    apart: bool = False

    @property
    def bytes_moved(self) -> int:
        return self.bags.bytes_moved(1, self.dtype.itemsize)

    @property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        return {LIMIT: (2, 1, self.bytes_moved // 3)}

    @property
    def facts(self) -> dict[str, Any]:
        return self.bags.facts

    def before(self, name: str, part: slice) -> Array:
        return np.zeros(part.stop - part.start, self.dtype)

    def tables(self, make: Callable[..., Array] = np.empty) -> list[Array]:
        found = []
        for k, (rows, width) in enumerate(self.bags.table_shapes):
            pattern = drawn(self.seed, k, PERIOD).astype(self.dtype)
            found.append(filled(pattern, rows * width, make).reshape(rows, width))
        return found

    def state(self, pooled: Sequence[Array]) -> State:
        """The rows of all tables beside each other."""
        return [{"rows": np.concatenate(pooled, axis=1)}]


@dataclass(frozen=True, kw_only=True)
class BagStepWork(StepWork):
    """A step by the gradients of bags, as the backward pass of their sums gives them.

    ``expands``: a gradient for each id is made first. ``apart``: a step for each table.
    """

    bags: Bags
    expands: bool = False
    apart: bool = False

    @property
    def tolerance(self) -> float:
        """Peers sum thousands of equal ids in another order."""
        return max(1e-4, self.optimizer.tolerance)

    def pattern(self, name: str) -> Array:
        """Gradients have one sign: a sum that cancels would depend on its order."""
        values = super().pattern(name)
        return np.abs(values) if name == GRADIENT else values

    @property
    def table_shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.bags.table_shapes

    @property
    def bytes_moved(self) -> int:
        """Touched rows of every array are read and written."""
        return self.bags.bytes_moved(2 * len(self.optimizer.arrays), self.dtype.itemsize)

    @property
    def facts(self) -> dict[str, Any]:
        return self.bags.facts

    def before(self, name: str, part: slice) -> Array:
        pattern, width = self.pattern(name), self.bags.batch.width
        rows = np.concatenate(self.bags.seen)[part.start // width : -(-part.stop // width)]
        old = pattern.reshape(-1, width)[rows % (pattern.size // width)].reshape(-1)
        first = part.start % width
        return old[first : first + part.stop - part.start]

    def gradient(self) -> Array:
        return self.array(GRADIENT, self.bags.shape)

    def state(self, arrays: Mapping[str, Sequence[Array]]) -> State:
        """The rows that are compared, of all tables, by the names of arrays."""
        return [
            {
                name: np.concatenate([x[rows] for x, rows in zip(own, self.bags.seen, strict=True)])
                for name, own in arrays.items()
            }
        ]
