# SPDX-License-Identifier: Apache-2.0
"""The inputs of a case, made once and handed to every contestant as its own fresh copy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from bench.results.records import LIMIT, REFERENCE_LIMIT
from bench.work.ops import OPS, Op, Scalar

Array = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}

# Values repeat with this period: drawing 64 Mi random numbers per array would take longer than
# the measurement, and no kernel is faster for it.
PERIOD = 1 << 18

# Second moments and their sums: positive from the start, so nothing is divided by zero.
_POSITIVE = {
    "accum",
    "accum_update",
    "v",
    "vhat",
    "ms",
    "gradient_squared_accumulator",
}


def filled(pattern: Array, size: int, make: Callable[..., Array] = np.empty) -> Array:
    """A new array of ``size`` elements that repeats ``pattern``."""
    out = make(size, pattern.dtype)
    whole = size // pattern.size * pattern.size
    out[:whole].reshape(-1, pattern.size)[...] = pattern
    out[whole:] = pattern[: size - whole]
    return out


@lru_cache(maxsize=16)
def drawn(seed: int, key: int, length: int, positive: bool = False) -> Array:
    """Normal numbers away from zero; read-only."""
    rng = np.random.default_rng([seed, key])
    values = rng.uniform(0.125, 1.0, length)
    if not positive:
        values *= rng.choice([-1.0, 1.0], length)
    values.flags.writeable = False
    return values


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every contestant is given: one kind of call on arrays of one dtype."""

    dtype: np.dtype[Any]
    seed: int = 7

    @property
    def bytes_moved(self) -> int:
        """Bytes that one call has to read and write."""
        raise NotImplementedError

    @property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        """The stream loops to measure beside it: arrays read, arrays written, bytes of each."""
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, Any]:
        """What is stored with the numbers, beyond the name of the case."""
        return {}

    @property
    def tolerance(self) -> float | None:
        """Allowed difference relative to the values; None: roundings of an op, see check.py."""
        return None

    def before(self, name: str, part: slice) -> Array:
        """Start values of a part of an array that a contestant's state holds, flattened."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class RuleWork(Work):
    """The work of an op with hyperparameters."""

    op: Op
    override: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def hyperparameters(self) -> dict[str, Scalar]:
        """Values of the hyperparameters, those of this case in place of the op's own."""
        values = {**self.op.hyperparameters}
        values.update({k: v for k, v in self.override.items() if k in values})
        return values

    @property
    def attributes(self) -> dict[str, Scalar]:
        """Attrs (``use_nesterov`` and the like) that this case sets."""
        own = self.op.hyperparameters
        return {k: v for k, v in self.override.items() if k not in own}

    def pattern(self, name: str, length: int = PERIOD) -> Array:
        """One period of the start values of an argument."""
        key = [*self.op.updated, self.op.gradient].index(name)
        values = drawn(self.seed, key, length, name in _POSITIVE)
        if name == "mg":  # the mean's square stays below the mean square
            values = values * 0.25
        return values.astype(self.dtype)


@dataclass(frozen=True, kw_only=True)
class DenseWork(RuleWork):
    """One dense op on arrays of one size and dtype."""

    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> list[int]:
        return [math.prod(shape) for shape in self.shapes]

    @property
    def size(self) -> int:
        return sum(self.sizes)

    @property
    def bytes_moved(self) -> int:
        return (self.op.reads + self.op.writes) * self.size * self.dtype.itemsize

    @property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        """The op's own count of reads and writes, and the one that the targets name."""
        per_array = self.size * self.dtype.itemsize
        own = (self.op.reads, self.op.writes, per_array)
        return {LIMIT: own, REFERENCE_LIMIT: (4, 3, per_array)}

    def pattern(self, name: str, length: int = PERIOD) -> Array:
        return super().pattern(name, min(length, max(self.sizes, default=1)))

    def before(self, name: str, part: slice) -> Array:
        return self.pattern(name)[: part.stop - part.start]

    def arrays(self) -> list[dict[str, Array]]:
        """Fresh arrays, one dictionary (var, slots, gradient by name) per tensor."""
        patterns = {n: self.pattern(n) for n in (*self.op.updated, self.op.gradient)}
        return [
            {n: filled(p, math.prod(shape)).reshape(shape) for n, p in patterns.items()}
            for shape in self.shapes
        ]


def dense_work(
    op: str, dtype: str, size: int, override: Mapping[str, Scalar] | None = None
) -> DenseWork:
    return DenseWork(op=OPS[op], dtype=DTYPES[dtype], shapes=((size,),), override=override or {})


def chunks(size: int) -> Iterator[slice]:
    """Slices of one period each, so that checks need little memory of their own."""
    for start in range(0, size, PERIOD):
        yield slice(start, min(start + PERIOD, size))
