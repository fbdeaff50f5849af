# SPDX-License-Identifier: Apache-2.0
"""Initial values of tables, as functions of a row's number: whatever rank has it, and in any order.

A number is made of (seed, name of the table, row, column) alone, by integer arithmetic and a few
operations of float64, so that it has the same bits everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from slotwise import _arguments

# Given the table's name, numbers of rows, the shape of a row and the dtype: these rows.
Initializer: TypeAlias = Callable[[str, NDArray[np.int64], tuple[int, ...], Any], NDArray[Any]]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BLOCK = 1 << 16  # numbers that are made at a time


class Uniform:
    """Numbers between two limits, each as likely as any other.

    Args:
        low, high: the limits; ``high`` is not among the numbers.
        seed: another one gives other numbers.

    Example:
        >>> from slotwise import initializers
        >>> import numpy as np
        >>> make = initializers.Uniform(-1.0, 1.0, seed=7)
        >>> rows = make("emb", np.array([0, 5]), (3,), np.float32)
        >>> bool((make("emb", np.array([5]), (3,), np.float32) == rows[1]).all())
        True
    """

    def __init__(self, low: float = -0.05, high: float = 0.05, seed: int = 0) -> None:
        self.low = _number("Uniform", "low", low)
        self.high = _number("Uniform", "high", high)
        if not self.low <= self.high:
            raise ValueError(f"Uniform: high: expected at least low, {low}, got {high}")
        self.seed = _arguments.index_of("Uniform", "seed", seed)

    def __call__(
        self, name: str, rows: NDArray[np.int64], shape: tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[Any]:
        """These rows of the table of this name."""
        low, size = self.low, self.high - self.low
        return _made(
            self.seed, name, rows, shape, dtype, lambda bits: low + _fractions(bits) * size
        )


class Normal:
    """Numbers of a normal distribution: the sum of twelve uniform ones, less its mean.

    That sum has the normal's mean and variance, and a tail that ends at six deviations.

    Args:
        mean, deviation: of the distribution.
        seed: another one gives other numbers.

    Example:
        >>> from slotwise import initializers
        >>> import numpy as np
        >>> make = initializers.Normal(0.0, 0.01, seed=7)
        >>> make("emb", np.arange(1000), (8,), np.float32).std().round(3)
        np.float32(0.01)
    """

    def __init__(self, mean: float = 0.0, deviation: float = 0.05, seed: int = 0) -> None:
        self.mean = _number("Normal", "mean", mean)
        self.deviation = _number("Normal", "deviation", deviation)
        if not self.deviation >= 0:
            raise ValueError(f"Normal: deviation: expected at least 0, got {deviation}")
        self.seed = _arguments.index_of("Normal", "seed", seed)

    def __call__(
        self, name: str, rows: NDArray[np.int64], shape: tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[Any]:
        """These rows of the table of this name."""

        def number(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
            total = np.zeros(bits.shape)
            for draw in np.arange(12, dtype=np.uint64) * _GOLDEN:
                total += _fractions(_mixed(bits + draw))
            return self.mean + (total - 6.0) * self.deviation

        return _made(self.seed, name, rows, shape, dtype, number)


class Constant:
    """One number everywhere.

    Example:
        >>> from slotwise import initializers
        >>> import numpy as np
        >>> initializers.Constant(0.5)("emb", np.arange(2), (1,), np.float32).tolist()
        [[0.5], [0.5]]
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = _number("Constant", "value", value)

    def __call__(
        self, name: str, rows: NDArray[np.int64], shape: tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[Any]:
        """These rows of the table of this name."""
        return np.full((len(rows), *shape), self.value, np.dtype(dtype))


def _number(op: str, name: str, value: Any) -> float:
    number = _arguments.converted(op, name, "a number", value, float)
    if not np.isfinite(number):
        raise ValueError(f"{op}: {name}: expected a finite number, got {number}")
    return number


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers of which each bit depends on all bits of the given ones (SplitMix64's finalizer)."""
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    found: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return found


def _fractions(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Numbers in [0, 1) of 24 bits: those that float32 has."""
    found: NDArray[np.float64] = (bits >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return found


def _made(
    seed: int,
    name: str,
    rows: NDArray[np.int64],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    number: Callable[[NDArray[np.uint64]], NDArray[np.float64]],
) -> NDArray[Any]:
    width = int(np.prod(shape, dtype=np.int64))
    out = np.empty((len(rows), width), np.dtype(dtype))
    text = f"{seed}/{name}".encode()
    key = np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), np.uint64)[0]
    columns = (np.arange(width, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
    step = max(1, _BLOCK // max(1, width))
    for begin in range(0, len(rows), step):
        own = _mixed(rows[begin : begin + step].astype(np.uint64) ^ key)
        out[begin : begin + step] = number(_mixed(own[:, None] + columns))
    return out.reshape(len(rows), *shape)
