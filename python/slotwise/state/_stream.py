# SPDX-License-Identifier: Apache-2.0
"""Tensors of a checkpoint a piece at a time, for what is larger than memory."""

from __future__ import annotations

import math
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise.distributed._placement import Placement
from slotwise.state._checksums import CHUNK
from slotwise.state._format import Tensor
from slotwise.state._load import Content, checked_rows, refuse_behind, rows_behind
from slotwise.state._memory import IntoArray, IntoStored, Source, WholeArray, as_bytes
from slotwise.state._reader import Part, Reader

Array = NDArray[Any]
PIECE = CHUNK  # bytes: a piece that begins with a chunk is read once to be verified


class _Layer(NamedTuple):
    """Rows of a tensor that a delta has, in ascending order."""

    reader: Reader
    tensor: Tensor
    ids: NDArray[np.int64]


class _Stream:
    """A tensor in files, with the rows that deltas changed. Every byte that is read is verified."""

    def __init__(self, reader: Reader, tensor: Tensor, layers: Sequence[_Layer] = ()) -> None:
        self.dtype, self.shape = tensor.dtype, tensor.shape
        self._reader, self._tensor, self._layers = reader, tensor, layers

    def piece(self, begin: int, end: int) -> Any:
        """The bytes from one place to another."""
        if not self._layers:
            return _read(self._reader, self._tensor, begin, end)
        row = self._tensor.size // self.shape[0]
        first, last = begin // row, -(-end // row)
        rows = _read(self._reader, self._tensor, first * row, last * row).reshape(-1, row)
        for reader, tensor, ids in self._layers:
            low, high = np.searchsorted(ids, [first, last]).tolist()
            if high > low:
                changed = _read(reader, tensor, low * row, high * row)
                rows[ids[low:high] - first] = changed.reshape(-1, row)
        return rows.reshape(-1)[begin - first * row :][: end - begin]


def _read(reader: Reader, tensor: Tensor, begin: int, end: int) -> NDArray[np.uint8]:
    out = np.empty(end - begin, np.uint8)
    reader.fill([Part(tensor, begin, end, IntoArray(out))])
    return out


def plain(reader: Reader) -> Mapping[str, Source]:
    """The tensors of one checkpoint as they are stored; of a delta, the rows that it has."""
    return _Lazy({name: (reader, name) for name in reader.names}, reader)


def whole(content: Content) -> Mapping[str, Source]:
    """The tensors of a base with its deltas."""
    return _Lazy({name: (content, name) for name in content.names}, content.layers[-1])


class _Lazy(Mapping[str, Source]):
    """Streams by name, each made when it is asked for."""

    def __init__(self, origins: Mapping[str, tuple[Reader | Content, str]], latest: Reader) -> None:
        self._origins, self._path, self._behind = origins, latest.path, rows_behind(latest)
        self._ids: dict[tuple[int, str], NDArray[np.int64]] = {}  # slots share their variable's

    def __getitem__(self, name: str) -> Source:
        origin, own = self._origins[name]
        refuse_behind("reading", self._path, self._behind, own)
        if isinstance(origin, Reader):
            tensor = origin.tensor(own)
            if tensor.buckets:
                fill, read = partial(_fill, origin, tensor), partial(origin.read, own)
                return Scattered(tensor.shape, tensor.dtype, fill, read)
            return _Stream(origin, tensor)
        return self._of_content(origin, own)

    def _of_content(self, content: Content, name: str) -> Source:
        base = content.bases[name]
        reader, kind = content.layers[base], content.kind(name)
        tensor = reader.tensor(name)
        layers = []
        for number, layer in enumerate(content.layers[base + 1 :], base + 1):
            which = layer.metadata["rows"][name]
            if (number, which) not in self._ids:
                self._ids[number, which] = layer.read(which)
            ids = checked_rows(self._ids[number, which], kind, layer, name)
            layers.append(_Layer(layer, layer.tensor(name), ids))
        layers = [layer for layer in layers if layer.tensor.size]
        # Rows in the order of their buckets are everywhere in the file.
        if tensor.buckets or any((layer.ids[1:] < layer.ids[:-1]).any() for layer in layers):
            return Scattered(
                *kind,
                lambda out: content.fill({name: out}, "during", False),
                lambda rows: content.read(name, rows, True),
            )
        return _Stream(reader, tensor, layers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._origins)

    def __len__(self) -> int:
        return len(self._origins)


def _fill(reader: Reader, tensor: Tensor, out: Array) -> None:
    """Put rows that lie in the order of their buckets in order."""
    sink = IntoStored(out, Placement.even(len(out), 1))
    reader.fill([Part(tensor, 0, tensor.size, sink)])


class Scattered:
    """A tensor whose rows are everywhere in its files.

    Pieces of it come from a temporary file, which has all rows in order; it has no name, and ends
    with this.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        fill: Callable[[Array], Any],
        read: Callable[[slice], Array],
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self._fill, self._read = fill, read
        self._lock = threading.Lock()  # pieces are asked for in threads
        self._ordered: WholeArray | None = None

    def piece(self, begin: int, end: int) -> Any:
        """The bytes from one place to another."""
        with self._lock:
            if self._ordered is None:
                self._ordered = WholeArray(self._in_order())
        return self._ordered.piece(begin, end)

    def rows(self, first: int, last: int) -> Array:
        """Some rows, in memory, without the temporary file."""
        return self._read(slice(first, last))

    def _in_order(self) -> Array:
        size = math.prod(self.shape) * self.dtype.itemsize
        if not size:
            return np.empty(self.shape, self.dtype)
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, no signal
            memory = np.memmap(file, np.uint8, "r+", shape=(size,))
        out = memory.view(self.dtype).reshape(self.shape)
        self._fill(out)
        return out


def pieces(source: Source, begin: int = 0, end: int | None = None) -> Iterator[Array]:
    """The elements of a source one after the other, flat, in pieces of limited size.

    Args:
        source: the tensor.
        begin, end: bytes of it, at ends of elements; by default, all.
    """
    size = math.prod(source.shape) * source.dtype.itemsize
    last = size if end is None else end
    while begin < last:
        until = min(last, (begin // PIECE + 1) * PIECE)
        yield np.frombuffer(as_bytes(np.asarray(source.piece(begin, until))), source.dtype)
        begin = until
