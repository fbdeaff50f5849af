# SPDX-License-Identifier: Apache-2.0
"""Tensors written into safetensors files, in a stream."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise.state import _atomic, _checksums, _format, _index, _threads
from slotwise.state._errors import StateError
from slotwise.state._index import INDEX, SUFFIX
from slotwise.state._memory import Source


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


class _File:
    """A file to write. It is open only while it is written to: there may be many."""

    def __init__(self, path: Path, sources: Mapping[str, Source], metadata: Mapping[str, Any]):
        self._path, self._metadata = path, metadata
        sizes = {name: size_of(source) for name, source in sources.items()}
        self.sources = {name: sources[name] for name in _format.in_order(sizes)}
        self._sums = {
            name: ["0" * _checksums.DIGITS] * _checksums.chunks(sizes[name])
            for name in self.sources
        }
        self._entries: dict[str, Any] = {}
        offset = 0
        for name, source in self.sources.items():
            self._entries[name] = _format.entry(source.dtype, source.shape, offset)
            offset += sizes[name]
        self._start = _format.header_size(self._header())
        self._places = {n: self._start + e["data_offsets"][0] for n, e in self._entries.items()}
        self._sizes = sizes

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
        for name, size in self._sizes.items():
            for number in range(_checksums.chunks(size)):
                begin = number * _checksums.CHUNK
                yield _Chunk(name, number, begin, min(begin + _checksums.CHUNK, size))

    def write(self, chunks: Iterable[_Chunk]) -> None:
        """Copy chunks block by block, and write and sum up what was copied."""
        with self._opened() as handle:
            for chunk in chunks:
                data = self.sources[chunk.name].piece(chunk.begin, chunk.end)
                found, at = _checksums.Running(), self._places[chunk.name] + chunk.begin
                for begin in range(0, len(data), _BLOCK):
                    block = data[begin : begin + _BLOCK]
                    copy = _buffer()[: len(block)]
                    copy[:] = block
                    found.add(copy.data)
                    _write_at(handle, copy.data, at + begin)
                self._sums[chunk.name][chunk.number] = found.value

    def compare(self, chunks: Iterable[_Chunk]) -> None:
        """Whether the memory is still what was written."""
        for chunk in chunks:
            data = self.sources[chunk.name].piece(chunk.begin, chunk.end)
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


@_threads.undisturbed
def write(
    path: Path,
    sources: Mapping[str, Source],
    metadata: Mapping[str, Any],
    max_shard_size: int,
    progress: bool | None,
    check: Callable[[], None],
    prove: Callable[[Path], None],
) -> None:
    """Write a file, or a folder of them if the path has no suffix, in place of what is there.

    All is written before any is compared with the memory: if nothing has changed by then, the whole
    is of the moment in between. ``check`` is called after that; ``prove`` with the place of what
    was written, before it takes the path's place.
    """
    path = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
    is_folder = path.suffix != SUFFIX
    _refuse_others(path, is_folder)
    with _atomic.replacing(path, is_folder) as place:
        shards = _shards(sources, max_shard_size) if is_folder else [dict(sources)]
        names = [_index.shard(number, len(shards)) for number in range(1, len(shards) + 1)]
        files = [
            _File(place / name if is_folder else place, shard, metadata)
            for name, shard in zip(names, shards, strict=True)
        ]
        tasks = [task for file in files for task in file.tasks()]
        total = sum(map(size_of, sources.values()))
        with _threads.progress_bar(f"save {path}", total, progress) as advance:
            _threads.run(
                tasks, lambda task: task.file.write(task.chunks), lambda task: advance(task.size)
            )
        _threads.run(tasks, lambda task: task.file.compare(task.chunks), lambda task: None)
        check()
        for file in files:
            _threads.check()
            file.finish()
        if is_folder:
            tensors = {name: [*shard] for name, shard in zip(names, shards, strict=True)}
            (place / INDEX).write_bytes(_index.encode(metadata["id"], total, tensors))
            _atomic.sync(place / INDEX)
        prove(place)


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
