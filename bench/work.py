"""The inputs of a case, made once and handed to every contestant as its own fresh copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from bench.ops import OPS, Op, Scalar

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


def filled(pattern: Array, size: int) -> Array:
    """A new array of ``size`` elements that repeats ``pattern``."""
    out = np.empty(size, pattern.dtype)
    whole = size // pattern.size * pattern.size
    out[:whole].reshape(-1, pattern.size)[...] = pattern
    out[whole:] = pattern[: size - whole]
    return out


@dataclass(frozen=True)
class DenseWork:
    """One dense op on arrays of one size and dtype."""

    op: Op
    dtype: np.dtype[Any]
    shapes: tuple[tuple[int, ...], ...]
    override: Mapping[str, Scalar] = field(default_factory=dict)
    seed: int = 7

    @property
    def sizes(self) -> list[int]:
        return [int(np.prod(shape)) for shape in self.shapes]

    @property
    def size(self) -> int:
        return sum(self.sizes)

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

    @property
    def bytes_moved(self) -> int:
        """Bytes that one call has to read and write."""
        return (self.op.reads + self.op.writes) * self.size * self.dtype.itemsize

    def pattern(self, name: str) -> Array:
        """One period of the start values of an argument: normal numbers, away from zero."""
        arrays = [*self.op.updated, self.op.gradient]
        rng = np.random.default_rng([self.seed, arrays.index(name)])
        length = min(PERIOD, max(self.sizes, default=1))
        values = rng.uniform(0.125, 1.0, length)
        if name not in _POSITIVE:
            values *= rng.choice([-1.0, 1.0], length)
        if name == "mg":  # the mean's square stays below the mean square
            values *= 0.25
        return values.astype(self.dtype)

    def arrays(self) -> list[dict[str, Array]]:
        """Fresh arrays, one dictionary (var, slots, gradient by name) per tensor."""
        patterns = {n: self.pattern(n) for n in (*self.op.updated, self.op.gradient)}
        return [
            {n: filled(p, int(np.prod(shape))).reshape(shape) for n, p in patterns.items()}
            for shape in self.shapes
        ]


def dense_work(
    op: str, dtype: str, size: int, override: Mapping[str, Scalar] | None = None
) -> DenseWork:
    return DenseWork(OPS[op], DTYPES[dtype], ((size,),), override or {})


def chunks(size: int) -> Iterator[slice]:
    """Slices of one period each, so that checks need little memory of their own."""
    for start in range(0, size, PERIOD):
        yield slice(start, min(start + PERIOD, size))
