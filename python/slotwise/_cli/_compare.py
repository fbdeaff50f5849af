# SPDX-License-Identifier: Apache-2.0
"""How far two tensors are apart, in one pass over pieces of both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_BLOCK = 1 << 16  # elements


@dataclass
class Difference:
    """What differs between two tensors of one dtype and shape.

    An element has changed if its bits have: 0.0 and -0.0 differ, and a NaN is equal to itself.

    Attributes:
        elements: how many there are.
        changed: how many differ.
        not_finite: how many of these are NaN or infinite in either; they are left out of the rest.
        largest: of all |b - a|.
        place: where that is, as the number of an element in C order.
        squares, norm: the sums of (b - a)^2 and of a^2, of floating-point numbers.
    """

    elements: int = 0
    changed: int = 0
    not_finite: int = 0
    largest: float | int = 0
    place: int | None = None
    squares: float = 0.0
    norm: float = 0.0

    @property
    def relative(self) -> float | None:
        """The norm of the difference over that of the first; None if either has no such number."""
        is_known = 0 < self.norm < math.inf and self.squares < math.inf
        return math.sqrt(self.squares / self.norm) if is_known else None

    @property
    def rank(self) -> tuple[bool, float, int]:
        """Sorts the largest difference last."""
        return self.not_finite > 0, float(self.largest), self.changed

    def add(self, a: Array, b: Array) -> None:
        """Compare the next elements, in blocks that stay in the cache with all that is computed."""
        for begin in range(0, a.size, _BLOCK):
            self._add(a[begin : begin + _BLOCK], b[begin : begin + _BLOCK])

    def _add(self, a: Array, b: Array) -> None:
        begin = self.elements
        self.elements += a.size
        bits = np.dtype(f"u{a.dtype.itemsize}")
        where = np.flatnonzero(a.view(bits) != b.view(bits))
        self.changed += where.size
        is_float = a.dtype.kind == "f" or a.dtype == ml_dtypes.bfloat16
        if is_float:
            wide = a.astype(np.float64)
            finite = np.isfinite(wide)
            with np.errstate(over="ignore"):
                self.norm += float(np.square(wide[finite]).sum())
        if not where.size:
            return
        x, y = a[where], b[where]
        if is_float:
            x, y = x.astype(np.float64), y.astype(np.float64)
            both = np.isfinite(x) & np.isfinite(y)
            self.not_finite += int(both.size - both.sum())
            where, x, y = where[both], x[both], y[both]
            with np.errstate(over="ignore"):
                apart = np.abs(y - x)
                self.squares += float(np.square(apart).sum())
        elif a.dtype == np.bool_:
            apart = np.ones(x.size, np.uint64)
        else:  # wrapping around, it is exact also where the difference fits no signed number
            apart = np.maximum(x, y).astype(np.uint64) - np.minimum(x, y).astype(np.uint64)
        if apart.size:
            first = int(apart.argmax())
            if self.place is None or apart[first] > self.largest:
                self.largest, self.place = apart[first].item(), begin + int(where[first])
