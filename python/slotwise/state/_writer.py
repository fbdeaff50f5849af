"""Tensors written into safetensors files, in a stream."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from slotwise.state import _atomic, _checksums, _format, _index, _threads
from slotwise.state._index import INDEX, SUFFIX
from slotwise.state._memory import Source


class _Chunk(NamedTuple):
    file: _File
    name: str
    number: int
    begin: int
    end: int


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

    def chunks(self) -> Iterator[_Chunk]:
        for name, size in self._sizes.items():
            for number in range(_checksums.chunks(size)):
                begin = number * _checksums.CHUNK
                yield _Chunk(self, name, number, begin, min(begin + _checksums.CHUNK, size))

    def write(self, chunk: _Chunk) -> None:
        data = memoryview(self.sources[chunk.name].piece(chunk.begin, chunk.end))
        self._sums[chunk.name][chunk.number] = _checksums.checksum(data)
        with self._opened() as handle:
            _write_at(handle, data, self._places[chunk.name] + chunk.begin)

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


def size_of(source: Source) -> int:
    return math.prod(source.shape) * source.dtype.itemsize


@_threads.undisturbed
def write(
    path: Path,
    sources: Mapping[str, Source],
    metadata: Mapping[str, Any],
    max_shard_size: int,
    progress: bool | None,
) -> None:
    """Write a file, or a folder of them if the path has no suffix, in place of what is there."""
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
        total = sum(map(size_of, sources.values()))
        with _threads.progress_bar(f"save {path}", total, progress) as advance:
            _threads.run(
                (chunk for file in files for chunk in file.chunks()),
                lambda chunk: chunk.file.write(chunk),
                lambda chunk: advance(chunk.end - chunk.begin),
            )
        for file in files:
            _threads.check()
            file.finish()
        if is_folder:
            tensors = {name: [*shard] for name, shard in zip(names, shards, strict=True)}
            (place / INDEX).write_bytes(_index.encode(metadata["id"], total, tensors))
            _atomic.sync(place / INDEX)


def _shards(sources: Mapping[str, Source], most: int) -> list[dict[str, Source]]:
    """In order; a tensor is never split."""
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
    """What is there must be a checkpoint: its files will be gone."""
    if is_folder and path.exists() and not (path / INDEX).is_file():
        raise FileExistsError(f"save: {path}: expected a checkpoint or nothing, which to replace")
    if not is_folder and path.is_dir():
        raise IsADirectoryError(f"save: {path}: expected a file or nothing, got a folder")
