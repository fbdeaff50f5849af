# SPDX-License-Identifier: Apache-2.0
"""Tensors of files that are read by all ranks together, each a share, and go to their owners."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise.distributed._placement import Placement
from slotwise.state import _checksums, _threads
from slotwise.state._format import Tensor
from slotwise.state._index import Parts
from slotwise.state._memory import IntoArray
from slotwise.state._ranks import Bytes, Exchange, Ranks
from slotwise.state._reader import Part, Reader
from slotwise.state._spread import Array, Dealt, in_rounds, shares

_PLACE = 8  # bytes of a place that is sent along


class Incoming(NamedTuple):
    """A tensor of a file, and where it goes.

    Attributes:
        tensor: in the file.
        array: that it goes to, on this rank.
        kind: of the whole that this is a part of, or that it is.
        dealt: whose units are whose; None for an array that is whole on each rank.
        rows: of a delta: those that the tensor has.
    """

    tensor: Tensor
    array: Array
    kind: Parts
    dealt: Dealt | None
    rows: NDArray[np.int64] | None = None

    @property
    def _is_in_order(self) -> bool:
        """Whether bytes that follow one another in the file do so where they go."""
        is_stored = self.dealt is not None and self.kind.buckets
        return self.rows is None and self.tensor.buckets == is_stored

    @property
    def _unit(self) -> int:
        """Bytes that stay together, and of which places are told."""
        if self._is_in_order:
            return self.kind.unit if self.tensor.buckets else self.tensor.dtype.itemsize
        if self.dealt is not None and not self.kind.buckets:
            return self.tensor.dtype.itemsize
        return math.gcd(self.tensor.chunk, self._row)

    @property
    def _row(self) -> int:
        return self.tensor.size // self.tensor.shape[0]

    def steps(self, ranks: int) -> int:
        """In how many pieces a chunk is sent, if there is a copy for each rank."""
        if self.dealt is not None:
            return 1
        return max(1, -(-min(self.tensor.chunk, self.tensor.size) * ranks // _checksums.CHUNK))

    def cut(self, chunk: int, step: int, steps: int) -> tuple[int, int]:
        """The bytes of a chunk that are sent in one of several steps."""
        begin, end = self.tensor.bounds(chunk)
        units = (end - begin) // self._unit
        first, last = units * step // steps, units * (step + 1) // steps
        return begin + first * self._unit, begin + last * self._unit

    def pieces(self, ranks: int, begin: int, end: int, data: Bytes) -> list[list[Bytes]]:
        """What each rank gets of these bytes of the tensor."""
        if self._is_in_order:
            return [
                [data[at - begin : at - begin + size] for at, _, size in self._runs(r, begin, end)]
                for r in range(ranks)
            ]
        units = data.reshape(-1, self._unit)
        owners, places = self._places(begin, end)
        if owners is None:
            return [[places.view(np.uint8), data]] * ranks
        order = np.argsort(owners, kind="stable")
        ends = np.cumsum(np.bincount(owners, minlength=ranks))
        found = []
        for own in np.split(order, ends[:-1]):
            found.append([places[own].view(np.uint8), units[own].reshape(-1)] if own.size else [])
        return found

    def put(self, rank: int, begin: int, end: int, data: Sequence[Bytes]) -> None:
        """Take in what this rank got of these bytes: in pieces as they were made, or in one."""
        if self._is_in_order:
            runs = self._runs(rank, begin, end)
            if len(data) != len(runs):
                data = np.split(data[0], np.cumsum([size for _, _, size in runs]))[: len(runs)]
            sink = IntoArray(self.array)
            for (_, at, size), piece in zip(runs, data, strict=True):
                memory = sink.memory(at, at + size)
                if memory is None:
                    sink.put(at, piece)
                else:
                    memory[:] = piece
            return
        joined = np.concatenate([*data, np.empty(0, np.uint8)])
        count = joined.size // (_PLACE + self._unit)
        places = joined[: count * _PLACE].view(np.int64)
        values = joined[count * _PLACE :].view(self.array.dtype)
        elements = self._unit // self.array.itemsize
        if self.array.flags.c_contiguous:
            self.array.reshape(-1, elements)[places] = values.reshape(-1, elements)
        else:
            self.array.flat[(places[:, None] * elements + np.arange(elements)).ravel()] = values

    def _runs(self, rank: int, begin: int, end: int) -> list[tuple[int, int, int]]:
        """Bytes in a row that a rank has of a range: where in the tensor, where there, how many."""
        if self.dealt is None:
            return [(begin, begin, end - begin)]
        unit = self._unit
        found = self.dealt.of(rank, begin // unit, end // unit)
        return [(run.begin * unit, run.local * unit, run.count * unit) for run in found]

    def _places(self, begin: int, end: int) -> tuple[Any, NDArray[np.int64]]:
        """For each unit, whose it is (None: each rank's), and its place there."""
        unit = self._unit
        width = self._row // unit
        rows, columns = np.divmod(np.arange(begin // unit, end // unit), width)
        if self.rows is not None:
            rows = self.rows[rows]
        elif self.tensor.buckets:
            rows = Placement.even(self.tensor.shape[0], 1).rows_at(rows)
        if self.dealt is None:
            return None, rows * width + columns
        if not self.kind.buckets:
            return self.dealt.locate(rows * width + columns)
        owners, places = self.dealt.locate(Placement.even(self.kind.shape[0], 1).places(rows))
        return owners, places * width + columns


class Shares:
    """What a rank reads of the tensors of one checkpoint or delta."""

    def __init__(self, ranks: Ranks, reader: Reader, tensors: Sequence[Incoming]) -> None:
        self._ranks, self._reader, self._tensors = ranks, reader, tensors
        sizes = [(each.tensor.size, each.tensor.chunk) for each in tensors]
        self._shares = shares(sizes, ranks.size)
        self._buffers: dict[int, Bytes] = {}

        self._own = [(tensors[n].tensor, chunks) for n, chunks in self._shares[ranks.rank]]

    @property
    def size(self) -> int:
        """The bytes that this rank reads."""
        return sum(t.bounds(own[-1])[1] - t.bounds(own[0])[0] for t, own in self._own)

    def verify(self, advance: Callable[[int], Any]) -> Iterator[None]:
        return self._reader.verify(self._own, advance)

    def load(self, verify: bool, advance: Callable[[int], Any]) -> Exchange:
        """Read, and send each rank what is its own."""
        rounds, me = in_rounds(self._shares), self._ranks.rank
        for begin in range(0, len(rounds), _threads.THREADS):
            batch = rounds[begin : begin + _threads.THREADS]
            own = [self._begun(n, chosen[me]) for n, chosen in enumerate(batch)]
            self._reader.fill([part for part, _ in own if part is not None], verify, advance)
            for chosen, (_, data) in zip(batch, own, strict=True):
                yield from self._sent(chosen, data)

    def _begun(self, number: int, chunk: tuple[int, int] | None) -> tuple[Part | None, Bytes]:
        """Memory for a chunk, and how it is read into that."""
        if chunk is None:
            return None, np.empty(0, np.uint8)
        tensor = self._tensors[chunk[0]].tensor
        begin, end = tensor.bounds(chunk[1])
        if self._buffers.get(number, np.empty(0)).size < end - begin:
            self._buffers[number] = np.empty(end - begin, np.uint8)
        data = self._buffers[number][: end - begin]
        return Part(tensor, begin, end, IntoArray(data)), data

    def _sent(self, chosen: Sequence[tuple[int, int] | None], data: Bytes) -> Exchange:
        me = self._ranks.rank
        known = [None if each is None else (self._tensors[each[0]], each[1]) for each in chosen]
        steps = max(each[0].steps(self._ranks.size) for each in known if each is not None)
        for step in range(steps):
            pieces: list[list[Bytes]] = [[] for _ in known]
            if (mine := known[me]) is not None:
                begin, end = mine[0].cut(mine[1], step, steps)
                first = mine[0].tensor.bounds(mine[1])[0]
                own = data[begin - first : end - first]
                pieces = mine[0].pieces(self._ranks.size, begin, end, own)
            received = yield [() if rank == me else own for rank, own in enumerate(pieces)]
            for rank, each in enumerate(known):
                if each is not None:
                    got = pieces[me] if rank == me else [received[rank]]
                    each[0].put(me, *each[0].cut(each[1], step, steps), got)
