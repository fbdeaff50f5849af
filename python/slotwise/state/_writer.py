# SPDX-License-Identifier: Apache-2.0
"""Tensors written into safetensors files, in a stream."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise.state import _atomic, _checksums, _format, _index, _threads
from slotwise.state._errors import StateError
from slotwise.state._index import INDEX, SUFFIX, Parts, Piece
from slotwise.state._memory import Source
from slotwise.state._ranks import Exchange, Ranks
from slotwise.state._spread import Dealt, in_rounds, shares


class _Chunk(NamedTuple):
    name: str
    number: int
    begin: int
    end: int


class _Task(NamedTuple):
    """Chunks of a file that are dealt with in one go: a large one, or several that are small."""

    file: _File
    chunks: list[_Chunk]
    size: int


class _Tensor(NamedTuple):
    """What a file is to hold; ``chunk`` is how many bytes have one checksum."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk: int

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class _File:
    """A file to write. It is open only while it is written to: there may be many."""

    def __init__(
        self,
        path: Path,
        tensors: Mapping[str, _Tensor],
        metadata: Mapping[str, Any],
        sources: Mapping[str, Source],
    ) -> None:
        self._path, self._metadata, self._sources = path, metadata, sources
        names = _format.in_order({name: tensor.size for name, tensor in tensors.items()})
        self._tensors = {name: tensors[name] for name in names}
        self._sums = {
            name: ["0" * _checksums.DIGITS] * _checksums.chunks(tensor.size, tensor.chunk)
            for name, tensor in self._tensors.items()
        }
        self._entries: dict[str, Any] = {}
        offset = 0
        for name, tensor in self._tensors.items():
            self._entries[name] = _format.entry(tensor.dtype, tensor.shape, offset)
            offset += tensor.size
        self._start = _format.header_size(self._header())
        self._places = {n: self._start + e["data_offsets"][0] for n, e in self._entries.items()}

    def _header(self) -> dict[str, Any]:
        sums = {name: "".join(found) for name, found in self._sums.items()}
        return _format.header({**self._metadata, "checksums": sums}, self._entries)

    def tasks(self) -> Iterator[_Task]:
        chunks: list[_Chunk] = []
        size = 0
        for chunk in self._chunks():
            if chunks and size + chunk.end - chunk.begin > _checksums.CHUNK:
                yield _Task(self, chunks, size)
                chunks, size = [], 0
            chunks.append(chunk)
            size += chunk.end - chunk.begin
        yield _Task(self, chunks, size)

    def _chunks(self) -> Iterator[_Chunk]:
        for name, tensor in self._tensors.items():
            for number in range(len(self._sums[name])):
                begin = number * tensor.chunk
                yield _Chunk(name, number, begin, min(begin + tensor.chunk, tensor.size))

    def write(self, chunks: Iterable[_Chunk]) -> None:
        """Copy chunks block by block, and write and sum up what was copied."""
        with self._opened() as handle:
            for chunk in chunks:
                data = self._sources[chunk.name].piece(chunk.begin, chunk.end)
                self._put(handle, chunk.name, chunk.number, data)

    def put(self, name: str, number: int, data: NDArray[np.uint8]) -> str:
        """Write one chunk as `write` does; returns its checksum."""
        with self._opened() as handle:
            self._put(handle, name, number, data)
        return self._sums[name][number]

    def _put(self, handle: int, name: str, number: int, data: Any) -> None:
        found, at = _checksums.Running(), self._places[name] + number * self._tensors[name].chunk
        for begin in range(0, len(data), _BLOCK):
            block = data[begin : begin + _BLOCK]
            copy = _buffer()[: len(block)]
            copy[:] = block
            found.add(copy.data)
            _write_at(handle, copy.data, at + begin)
        self._sums[name][number] = found.value

    def compare(self, chunks: Iterable[_Chunk]) -> None:
        """Whether the memory is still what was written."""
        for chunk in chunks:
            data = self._sources[chunk.name].piece(chunk.begin, chunk.end)
            if _checksums.checksum(data) != self._sums[chunk.name][chunk.number]:
                raise changed(chunk.name)

    def finish(self) -> None:
        with self._opened() as handle:
            _write_at(handle, memoryview(_format.encode(self._header())), 0)
            os.fsync(handle)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            yield handle
        finally:
            os.close(handle)


def _write_at(handle: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(handle, data, offset)
        data, offset = data[count:], offset + count


_BLOCK = 1 << 20  # bytes that are still in the cache when they are summed up and written
_buffers = threading.local()


def _buffer() -> NDArray[np.uint8]:
    """The buffer of this thread."""
    if not hasattr(_buffers, "memory"):
        _buffers.memory = np.empty(_BLOCK, np.uint8)
    memory: NDArray[np.uint8] = _buffers.memory
    return memory


def changed(name: str) -> StateError:
    return StateError(f"save: '{name}' was changed while it was saved, by no step of an optimizer")


def size_of(source: Source) -> int:
    return math.prod(source.shape) * source.dtype.itemsize


class Spread(NamedTuple):
    """A tensor in parts, and the one that is here.

    Attributes:
        kind: of the whole.
        source: the units that are here.
        dealt: whose units are whose.
    """

    kind: Parts
    source: Source
    dealt: Dealt

    def own(self, rank: int, begin: int, end: int) -> list[Any]:
        """The bytes of this rank's units in a range, as they follow one another."""
        runs, unit = self.dealt.of(rank, begin, end), self.kind.unit
        return [self.source.piece(r.local * unit, (r.local + r.count) * unit) for r in runs]

    def units(self, chunk: int) -> tuple[int, int]:
        """The units of a chunk."""
        count = self.kind.chunk // self.kind.unit
        return chunk * count, min((chunk + 1) * count, self.kind.units)


class _PartsOfRanks:
    """Tensors in parts: the files that each rank writes, and what it gets for them from others.

    Each writes an equal run of the bytes of them all, in whole chunks. So their checksums are the
    same for every number of ranks.
    """

    def __init__(self, ranks: Ranks, spread: Mapping[str, Spread], most: int) -> None:
        self._ranks, self._names, self._spread = ranks, [*spread], [*spread.values()]
        sizes = [(each.kind.size, each.kind.chunk) for each in self._spread]
        self._shares = shares(sizes, ranks.size)
        self.contents = [
            (rank, content) for rank in range(ranks.size) for content in self._contents(rank, most)
        ]
        self._files: dict[str, list[tuple[range, _File]]] = {}
        self._sums: dict[tuple[int, int], str] = {}  # of what this rank has of chunks
        self._buffers: dict[int, NDArray[np.uint8]] = {}

    def _contents(self, rank: int, most: int) -> Iterator[dict[int, range]]:
        """The chunks of tensors in each of a rank's files."""
        content: dict[int, range] = {}
        filled = 0
        for number, chunks in self._shares[rank]:
            chunk, left = self._spread[number].kind.chunk, chunks
            while left:
                count = (most - filled) // chunk
                if content and count < 1:
                    yield content
                    content, filled = {}, 0
                    continue
                content[number], left = left[: max(1, count)], left[max(1, count) :]
                filled += len(content[number]) * chunk
        if content:
            yield content

    def open(self, place: Path, names: Sequence[str], metadata: Mapping[str, Any]) -> list[_File]:
        """The files of this rank; ``names`` are those of all `contents`."""
        files = []
        for name, (rank, content) in zip(names, self.contents, strict=True):
            if rank == self._ranks.rank:
                tensors = {self._names[n]: self._tensor(n, own) for n, own in content.items()}
                files.append(_File(place / name, tensors, metadata, {}))
                for number, chunks in content.items():
                    own = self._files.setdefault(self._names[number], [])
                    own.append((chunks, files[-1]))
        return files

    def _tensor(self, number: int, chunks: range) -> _Tensor:
        kind, count = self._spread[number].kind, self._count(number, chunks)
        return _Tensor(kind.dtype, (count, *kind.unit_shape), kind.chunk)

    def _count(self, number: int, chunks: range) -> int:
        """The units of some chunks."""
        each = self._spread[number]
        return each.units(chunks[-1])[1] - each.units(chunks[0])[0]

    def index(self, names: Sequence[str]) -> dict[str, Parts]:
        """What the index says of them; ``names`` are those of all `contents`."""
        found = {}
        for number, (name, each) in enumerate(zip(self._names, self._spread, strict=True)):
            pieces = [
                Piece(file, each.units(content[number][0])[0], self._count(number, content[number]))
                for file, (_, content) in zip(names, self.contents, strict=True)
                if number in content
            ]
            found[name] = replace(each.kind, pieces=tuple(pieces))
        return found

    @property
    def total(self) -> int:
        return sum(each.kind.size for each in self._spread)

    @property
    def own_total(self) -> int:
        """The bytes that this rank writes."""
        own = self._shares[self._ranks.rank]
        return sum(self._count(n, chunks) * self._spread[n].kind.unit for n, chunks in own)

    def write(self, advance: Callable[[int], Any]) -> Exchange:
        """Send what this rank has of each chunk, and write what it gets."""
        rounds, me = in_rounds(self._shares), self._ranks.rank
        for begin in range(0, len(rounds), _threads.THREADS):
            filled = []
            for number, chosen in enumerate(rounds[begin : begin + _threads.THREADS]):
                pieces = [self._own(each) for each in chosen]
                for rank, own in enumerate(pieces):
                    if own and rank != me:  # a copy, of which the sum is
                        pieces[rank] = [np.concatenate(own)]
                        self._note(chosen[rank], pieces[rank])
                received = yield [() if rank == me else own for rank, own in enumerate(pieces)]
                if (mine := chosen[me]) is not None:
                    data = self._buffer(number, mine)
                    is_here = len(pieces[me]) == 1 and pieces[me][0].size == data.size
                    if is_here:  # all of it, as it is
                        data = pieces[me][0]
                    else:
                        self._join(mine, pieces[me], received, data)
                    filled.append((mine, data, is_here))
            _threads.run(filled, lambda task: self._put(*task), lambda task: advance(task[1].size))

    def _own(self, chunk: tuple[int, int] | None) -> list[Any]:
        """What this rank has of a chunk of a tensor."""
        if chunk is None:
            return []
        each = self._spread[chunk[0]]
        return each.own(self._ranks.rank, *each.units(chunk[1]))

    def _note(self, chunk: tuple[int, int] | None, pieces: Iterable[Any]) -> None:
        if chunk is not None:
            self._sums[chunk] = _sum_of(pieces)

    def _buffer(self, number: int, chunk: tuple[int, int]) -> NDArray[np.uint8]:
        """Memory for a chunk, one of several at a time."""
        each = self._spread[chunk[0]]
        first, last = each.units(chunk[1])
        size = (last - first) * each.kind.unit
        if number not in self._buffers or self._buffers[number].size < size:
            self._buffers[number] = np.empty(each.kind.chunk, np.uint8)
        return self._buffers[number][:size]

    def _join(
        self,
        chunk: tuple[int, int],
        mine: list[Any],
        received: Sequence[NDArray[np.uint8]],
        data: NDArray[np.uint8],
    ) -> None:
        """Put together a chunk, from what each rank has of it."""
        each = self._spread[chunk[0]]
        first, last = each.units(chunk[1])
        unit, own = each.kind.unit, []
        for rank, others in enumerate(received):
            at = 0
            for n, run in enumerate(each.dealt.of(rank, first, last)):
                place = data[(run.begin - first) * unit :][: run.count * unit]
                if rank == self._ranks.rank:
                    place[:] = mine[n]
                    own.append(place)
                else:
                    place[:] = others[at : at + place.size]
                    at += place.size
        if own:
            self._note(chunk, own)

    def _put(self, chunk: tuple[int, int], data: NDArray[np.uint8], is_here: bool) -> None:
        number, which = chunk
        name = self._names[number]
        chunks, file = next(found for found in self._files[name] if which in found[0])
        found = file.put(name, which - chunks[0], data)
        if is_here:
            self._sums[chunk] = found

    def compare(self) -> Exchange:
        """Whether the memory is still what was written."""

        def work(chunk: tuple[int, int]) -> None:
            if _sum_of(self._own(chunk)) != self._sums[chunk]:
                raise changed(self._names[chunk[0]])

        yield from _threads.in_batches(self._sums, work, lambda chunk: None)


def _sum_of(pieces: Iterable[Any]) -> str:
    found = _checksums.Running()
    for piece in pieces:
        found.add(piece)
    return found.value


@_threads.undisturbed
def write(
    ranks: Ranks,
    path: Path,
    sources: Mapping[str, Source],
    spread: Mapping[str, Spread],
    metadata: Mapping[str, Any],
    max_shard_size: int,
    progress: bool | None,
    check: Callable[[], None],
    prove: Callable[[Path], Exchange],
    release: Callable[[str, int, int], None] | None = None,
) -> None:
    """Write a file, or a folder of them if the path has no suffix, in place of what is there.

    All is written before any is compared with the memory: if nothing has changed by then, the whole
    is of the moment in between. ``check`` is called after that; ``prove`` with the place of what
    was written, before it takes the path's place.

    Nobody changes the memory of a snapshot: then ``release`` is given, and called with the bytes of
    a tensor that were written, which are not read again.

    Rank 0 makes the folder, writes ``sources`` and the index, and renames; all write the tensors
    that are spread. Whatever fails on one rank before that leaves what was at the path.
    """
    path = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
    is_folder = path.suffix != SUFFIX
    is_first = ranks.rank == 0
    with ExitStack() as stack:

        def begin() -> str:
            _refuse_others(path, is_folder)
            return stack.enter_context(_atomic.replacing(path, is_folder)).name

        place = path.with_name(ranks.first(begin))
        parts = _PartsOfRanks(ranks, spread, max_shard_size)
        shards = _shards(sources, max_shard_size) if is_folder else [dict(sources)]
        shards = [shard for shard in shards if shard or not parts.contents]
        count = len(shards) + len(parts.contents)
        names = [_index.shard(number, count) for number in range(1, count + 1)]

        def plan() -> tuple[list[_File], list[_Task]]:
            if not place.exists():
                raise FileNotFoundError(f"save: {path}: expected a file system that ranks share")
            whole = [
                _File(place / name if is_folder else place, _tensors(shard), metadata, shard)
                for name, shard in zip(names, shards if is_first else (), strict=False)
            ]
            files = [*whole, *parts.open(place, names[len(shards) :], metadata)]
            return files, [task for file in whole for task in file.tasks()]

        def fill() -> Exchange:
            total = sum(task.size for task in tasks) + parts.own_total
            wanted = progress if is_first else False
            with _threads.progress_bar(f"save {path}", total, wanted) as advance:
                yield from parts.write(advance)
                yield from _threads.in_batches(
                    tasks,
                    put,
                    lambda task: advance(task.size),
                )

        def put(task: _Task) -> None:
            task.file.write(task.chunks)
            if release is not None:
                for chunk in task.chunks:
                    release(chunk.name, chunk.begin, chunk.end)

        def finish() -> Exchange:
            if release is None:
                yield from _threads.in_batches(
                    tasks, lambda task: task.file.compare(task.chunks), lambda task: None
                )
                yield from parts.compare()
            check()
            for file in files:
                _threads.check()
                file.finish()
                yield None

        def close() -> None:
            if is_folder:
                tensors = {name: [*shard] for name, shard in zip(names, shards, strict=False)}
                tensors |= {name: [] for name in names[len(shards) :]}
                total = sum(map(size_of, sources.values())) + parts.total
                index = parts.index(names[len(shards) :])
                (place / INDEX).write_bytes(_index.encode(metadata["id"], total, tensors, index))
                _atomic.sync(place / INDEX)

        (files, tasks), _ = ranks.agree(plan)
        ranks.do(fill())
        ranks.do(finish())
        ranks.first(close)
        ranks.do(prove(place))
        ranks.agree(stack.close)


def _tensors(sources: Mapping[str, Source]) -> dict[str, _Tensor]:
    return {name: _Tensor(s.dtype, s.shape, _checksums.CHUNK) for name, s in sources.items()}


def _shards(sources: Mapping[str, Source], most: int) -> list[dict[str, Source]]:
    """The sources of each file, in order; a tensor is never split."""
    shards: list[dict[str, Source]] = [{}]
    filled = 0
    for name, source in sources.items():
        size = size_of(source)
        if shards[-1] and filled + size > most:
            shards.append({})
            filled = 0
        shards[-1][name] = source
        filled += size
    return shards


def _refuse_others(path: Path, is_folder: bool) -> None:
    """Raise unless what is there is a checkpoint: its files will be gone."""
    if is_folder and path.exists() and not (path / INDEX).is_file():
        got = "other files" if path.is_dir() else "a file"
        raise FileExistsError(f"save: {path}: expected a checkpoint or nothing, got {got}")
    if not is_folder and path.is_dir():
        raise IsADirectoryError(f"save: {path}: expected a file or nothing, got a folder")
