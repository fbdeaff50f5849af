# SPDX-License-Identifier: Apache-2.0
"""Arrays at a chosen place in memory, with something around them that must not be touched."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from support.compare import bits
from support.reference import Array

LINE = 64
SENTINEL = 0xA5


def aligned(dtype: npt.DTypeLike, size: int) -> Array:
    """A zeroed vector that starts on a cache line."""
    dtype = np.dtype(dtype)
    memory = np.zeros(size * dtype.itemsize + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size * dtype.itemsize].view(dtype)


def misaligned(x: Array) -> Array:
    """A copy that starts one byte past where an element may start."""
    copy: Array = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    copy[...] = x
    return copy


def read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


def copies(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: x.copy() for name, x in arrays.items()}


def copies_of(tables: Iterable[Mapping[str, Array]]) -> list[dict[str, Array]]:
    return [copies(table) for table in tables]


class Guarded:
    """Memory for a vector, which `place` puts at any distance from a cache line.

    >>> memory = Guarded(np.float32, 100)
    >>> x = memory.place(values, offset=3)      # a copy of values, 12 bytes past a line
    >>> memory.holds(values)                    # x has these bits, and nothing around it changed
    """

    MARGIN = 64  # elements of sentinel before and after

    def __init__(self, dtype: npt.DTypeLike, capacity: int) -> None:
        self.memory = aligned(dtype, capacity + 3 * self.MARGIN)
        self.bits = bits(self.memory)
        self.sentinel = np.full(self.memory.itemsize, SENTINEL, np.uint8).view(self.bits.dtype)[0]
        self.expected = np.empty_like(self.bits)
        self.place_of = slice(0)

    def place(self, values: Array, offset: int = 0) -> Array:
        assert 0 <= offset < self.MARGIN
        start = self.MARGIN + offset
        self.place_of = slice(start, start + values.size)
        self.bits.fill(self.sentinel)
        self.memory[self.place_of] = values
        return self.memory[self.place_of]

    def holds(self, values: Array) -> bool:
        self.expected.fill(self.sentinel)
        self.expected[self.place_of] = bits(values)
        return bool((self.bits == self.expected).all())


class Page:
    """A page between two that no one may touch: whoever does ends the process."""

    def __init__(self) -> None:
        size = mmap.PAGESIZE
        self.map = mmap.mmap(-1, 3 * size)
        self.bytes = np.frombuffer(self.map, np.uint8)[size : 2 * size]
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        start: int = self.bytes.ctypes.data
        for neighbour in (start - size, start + size):
            assert libc.mprotect(neighbour, size, 0) == 0

    def first(self, values: Array) -> Array:
        """A copy of values that begins where the page begins."""
        return self._copy(self.bytes[: values.nbytes], values)

    def last(self, values: Array) -> Array:
        """A copy of values that ends where the page ends."""
        return self._copy(self.bytes[self.bytes.size - values.nbytes :], values)

    @staticmethod
    def _copy(where: Any, values: Array) -> Array:
        out: Array = where.view(values.dtype)
        out[...] = values
        return out
