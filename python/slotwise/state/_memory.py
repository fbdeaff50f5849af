# SPDX-License-Identifier: Apache-2.0
"""Bytes of arrays, piece by piece: those to write, and those to fill."""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slotwise.distributed._placement import Placement

Array = NDArray[Any]
_WILLNEED = 3
_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


def as_bytes(array: Array) -> Array:
    """The memory of a C-contiguous array."""
    return np.asarray(array).reshape(-1).view(np.uint8)  # of a matrix, say, too


def fetch_ahead(piece: Array) -> None:
    """Have pages of a memory map read in one go: it may be advised to read none ahead."""
    begin = piece.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    _libc.madvise(begin, piece.ctypes.data + piece.size - begin, _WILLNEED)


class _Mapping:
    """A file in memory. It needs no descriptor, as Python's `mmap` does: many can be had."""

    def __init__(self, handle: int, size: int) -> None:
        begin = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, handle, 0)
        if begin == _FAILED:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._unmap = partial(_libc.munmap, begin, size)
        self.__array_interface__ = {
            "version": 3,
            "data": (begin, True),
            "shape": (size,),
            "typestr": "|u1",
        }

    def __del__(self) -> None:
        if hasattr(self, "_unmap"):
            self._unmap()


def map_file(handle: int, size: int) -> Array:
    """The bytes of a file, read-only; the file may be closed."""
    return np.asarray(_Mapping(handle, size))


def is_mapped(array: Array) -> bool:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, (mmap.mmap, _Mapping))


class Source(Protocol):
    """What is written as one tensor."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def piece(self, begin: int, end: int) -> Any:
        """The bytes from one place to another."""
        ...


class WholeArray:
    """An array of any layout."""

    def __init__(self, array: Array) -> None:
        self.dtype, self.shape = array.dtype, array.shape
        self._array = np.asarray(array)
        self._bytes = as_bytes(array) if array.flags.c_contiguous else None
        self._is_mapped = is_mapped(array)

    def piece(self, begin: int, end: int) -> Any:
        if self._bytes is None:  # chunks hold whole elements
            size = self.dtype.itemsize
            return as_bytes(np.asarray(self._array.flat[begin // size : end // size]))
        part = self._bytes[begin:end]
        if self._is_mapped:
            fetch_ahead(part)
        return part


class SomeRows:
    """Rows of an array."""

    def __init__(self, array: Array, rows: NDArray[np.int64]) -> None:
        self.dtype, self.shape = array.dtype, (rows.size, *array.shape[1:])
        self._array, self._rows = array, rows
        self._row_size = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))

    def piece(self, begin: int, end: int) -> Any:
        first = begin // self._row_size
        taken = self._array[self._rows[first : -(-end // self._row_size)]]
        start = begin - first * self._row_size
        return as_bytes(np.ascontiguousarray(taken))[start : start + end - begin]


class Sink(Protocol):
    """What a tensor is read into."""

    def memory(self, begin: int, end: int) -> Array | None:
        """Where these bytes go, or None if they are to be handed to `put`."""
        ...

    def put(self, begin: int, data: Array) -> None: ...


class IntoArray:
    """A whole array of any layout."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self._bytes = as_bytes(array) if array.flags.c_contiguous else None

    def memory(self, begin: int, end: int) -> Array | None:
        return None if self._bytes is None else self._bytes[begin:end]

    def put(self, begin: int, data: Array) -> None:
        first, values = begin // self._array.itemsize, data.view(self._array.dtype)
        self._array.flat[first : first + values.size] = values


class IntoStored:
    """Rows in the order of their buckets, put in order; of an array that has some in a row.

    Args:
        array: where they go.
        placement: of the whole table.
        first: the row that the array begins with.
        place: what is read begins with this one of the stored order.
    """

    def __init__(self, array: Array, placement: Placement, first: int = 0, place: int = 0) -> None:
        self._array, self._placement, self._first, self._place = array, placement, first, place

    def memory(self, begin: int, end: int) -> None:
        return None

    def put(self, begin: int, data: Array) -> None:
        """Whole rows."""
        shape = self._array.shape[1:]
        values = data.view(self._array.dtype).reshape(-1, *shape)
        at = self._place + begin * len(values) // data.size
        rows = self._placement.rows_at(np.arange(at, at + len(values))) - self._first
        inside = (rows >= 0) & (rows < len(self._array))
        self._array[rows[inside]] = values[inside]


class IntoRows:
    """Rows of an array, in whole rows: what is read first goes to a buffer of its own."""

    def __init__(self, array: Array, rows: NDArray[np.int64]) -> None:
        if not array.flags.c_contiguous:
            raise ValueError(
                f"load: rows of an array of shape {array.shape}: expected C-contiguous"
            )
        self._array, self._rows = array, rows
        self._width = int(np.prod(array.shape[1:], dtype=np.int64))

    @property
    def count(self) -> int:
        return self._rows.size

    def memory(self, begin: int, end: int) -> None:
        return None

    def put(self, begin: int, data: Array) -> None:
        """Any elements: a chunk may end within a row."""
        flat = self._array.reshape(self._array.shape[0], -1)
        first, values = begin // self._array.itemsize, data.view(self._array.dtype)
        rows, column = divmod(first, self._width)
        if column:  # the rest of a row that the chunk before began
            rest = min(self._width - column, values.size)
            flat[self._rows[rows], column : column + rest] = values[:rest]
            values, rows = values[rest:], rows + 1
        whole = values.size // self._width
        if whole:
            block = values[: whole * self._width].reshape(whole, self._width)
            flat[self._rows[rows : rows + whole]] = block
        left = values[whole * self._width :]
        if left.size:
            flat[self._rows[rows + whole], : left.size] = left
