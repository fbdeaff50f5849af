# SPDX-License-Identifier: Apache-2.0
"""Tensors of a checkpoint: found, verified, and read."""

from __future__ import annotations

import json
import os
import stat
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise.distributed._placement import Placement
from slotwise.state import _atomic, _checksums, _format, _index, _threads
from slotwise.state._errors import StateError
from slotwise.state._files import may_keep, open_regular, unreadable
from slotwise.state._format import Tensor
from slotwise.state._memory import IntoArray, IntoStored, Sink, map_file

_buffers = threading.local()
_BLOCK = 1 << 18
_TRIES = 10  # to open a folder that is replaced meanwhile


class Part(NamedTuple):
    """Bytes of a tensor, and where they go; with None, they are only verified."""

    tensor: Tensor
    begin: int
    end: int
    sink: Sink | None


class _Piece(NamedTuple):
    """A tensor in a file, whole or a part; ``first`` is its first chunk in the whole."""

    first: int
    file: _File
    tensor: Tensor


class _Stored(NamedTuple):
    """A tensor, and where it is."""

    tensor: Tensor
    pieces: list[_Piece]

    def at(self, chunk: int) -> _Piece:
        """The piece that has a chunk."""
        return self.pieces[bisect_right(self.pieces, chunk, key=lambda piece: piece.first) - 1]


class _File:
    """A safetensors file, for reading."""

    def __init__(self, path: str, place: str, folder: int | None, home: str) -> None:
        self.path, self._place = path, os.path.abspath(os.path.join(home, place))
        file = open_regular(path, place, folder)
        self.kept = file if may_keep(file) else None
        try:
            self._identity = _identity(file)
            size = os.fstat(file.fileno()).st_size
            try:
                length = int.from_bytes(os.pread(file.fileno(), 8, 0), "little")
                if size < 8 or length > min(_format.LIMIT, size - 8):
                    raise StateError(
                        f"{path}: a header of {length} bytes does not fit {size}: damaged"
                    )
                text = os.pread(file.fileno(), length, 8)
            except OSError as error:
                raise unreadable(path, error) from error
            if len(text) != length:
                raise StateError(f"{path}: the file ends in its header")
            self.metadata, self.tensors = _format.decode(path, text, size)
        except BaseException:
            file.close()
            raise
        if self.kept is None:
            file.close()

    @contextmanager
    def _handle(self) -> Iterator[int]:
        if self.kept is not None:
            yield self.kept.fileno()
            return
        with open_regular(self.path, self._place) as file:
            if _identity(file) != self._identity:
                raise StateError(f"{self.path}: it was replaced while it was read")
            yield file.fileno()

    @cached_property
    def mapped(self) -> NDArray[np.uint8]:
        with self._handle() as handle:
            try:
                return map_file(handle, os.fstat(handle).st_size)
            except OSError as error:
                raise unreadable(self.path, error) from error

    def read(self, memory: NDArray[Any], tensor: Tensor, begin: int) -> None:
        """Fill memory from a tensor's byte on."""
        view, at = memory.data, tensor.begin + begin
        with self._handle() as handle:
            if hasattr(os, "posix_fadvise"):  # threads that read in turn do not look sequential
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while view:
                try:
                    count = os.preadv(handle, [view], at)
                except OSError as error:
                    raise unreadable(f"{self.path}: '{tensor.name}'", error) from error
                if count == 0:
                    raise StateError(f"{self.path}: '{tensor.name}': the file ends at byte {at}")
                view, at = view[count:], at + count

    def verify(self, tensor: Tensor, chunk: int) -> None:
        """Read a chunk in blocks, which are still in the cache when they are hashed."""
        begin, end = tensor.bounds(chunk)
        found = _checksums.Running()
        for first in range(begin, end, _BLOCK):
            memory = _buffer(min(_BLOCK, end - first))
            self.read(memory, tensor, first)
            found.add(memory.data)
        self.compare(found.value, tensor, chunk)

    def compare(self, found: str, tensor: Tensor, chunk: int) -> None:
        if tensor.checksums and found != tensor.checksums[chunk]:
            begin, end = (tensor.begin + place for place in tensor.bounds(chunk))
            raise StateError(
                f"{self.path}: '{tensor.name}' is damaged: the checksum of the file's bytes "
                f"{begin} to {end} is wrong"
            )


def _identity(file: FileIO) -> tuple[int, ...]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Reader:
    """A checkpoint, open for reading; it stays what it was when it is replaced meanwhile.

    Any safetensors file can be read, and any folder with an index; what slotwise did not write has
    no checksums. Tensors are given as they are stored: rows beside which there is a
    ``deferred_steps`` have steps to make up for.

    Args:
        path: the file or folder.

    Attributes:
        names: of all tensors.
        metadata: what slotwise keeps in the header; empty in other files.

    Raises:
        StateError: no checkpoint, or a damaged header or index.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> path = tempfile.mkdtemp() + "/w.safetensors"
        >>> _ = slotwise.save(path, variables={"w": np.arange(6).reshape(3, 2)})
        >>> with slotwise.state.Reader(path) as reader:
        ...     reader.names, reader.read("w", rows=slice(1, 3)).tolist()
        (['w'], [[2, 3], [4, 5]])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._files: list[_File] = []
        self._of: dict[str, _Stored] = {}
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        self.metadata: dict[str, Any] = self._files[0].metadata if self._files else {}

    @_threads.undisturbed
    def _open(self) -> None:
        for trial in range(_TRIES):
            place, found = self._found()
            try:
                if stat.S_ISDIR(found.st_mode):
                    self._open_folder(place)
                else:
                    file = self._open_file(self.path, str(place))
                    if file.metadata.get("parts"):
                        expected = "expected its folder: some tensors are in parts"
                        raise StateError(f"{self.path}: it is one file of a checkpoint: {expected}")
                return
            except BaseException as error:
                self.close()
                self._of.clear()
                is_replaced = isinstance(error, StateError) and not _is_still(place, found)
                if not is_replaced or trial == _TRIES - 1:
                    raise

    def _found(self) -> tuple[Path, os.stat_result]:
        try:
            place = _atomic.current(Path(self.path))
            found = os.stat(place)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise StateError(f"{self.path}: there is no checkpoint") from None
        except OSError as error:
            raise unreadable(self.path, error) from error
        return place, found

    def _open_folder(self, place: Path) -> None:
        try:
            folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise unreadable(self.path, error) from error
        try:
            index = _index.read(f"{self.path}/{_index.INDEX}", folder)
            for name, expected in index.tensors.items():
                path = f"{self.path}/{name}"
                try:
                    file = self._open_file(path, name, folder, str(place))
                except StateError as error:
                    raise StateError(f"{error} (tensors: {_some(expected)})") from None
                self._check_file(file, index, expected)
        finally:
            os.close(folder)
        if index.identity is not None:
            self._put_together(index)
            self._check_whole(index)

    def _open_file(self, path: str, place: str, folder: int | None = None, home: str = "") -> _File:
        file = _File(path, place, folder, home)
        self._files.append(file)
        parts = file.metadata.get("parts", ())
        whole = {name: tensor for name, tensor in file.tensors.items() if name not in parts}
        self._of |= {name: _Stored(t, [_Piece(0, file, t)]) for name, t in whole.items()}
        return file

    def _check_file(self, file: _File, index: _index.Index, expected: set[str]) -> None:
        if file.metadata.get("id") != index.identity:
            raise StateError(f"{file.path}: it is of another checkpoint than the index")
        if wrong := expected ^ file.tensors.keys():
            raise StateError(f"{file.path}: the index does not fit, see {_some(wrong)}")
        first = self._files[0]
        if not _agree(file.metadata, first.metadata):
            raise StateError(f"{file.path}: its header says otherwise than that of {first.path}")
        file.metadata = first.metadata  # many files hold it once

    def _put_together(self, index: _index.Index) -> None:
        """Find the tensors in parts."""
        metadata = self._files[0].metadata if self._files else {}
        if wrong := index.parts.keys() ^ {*metadata.get("parts", ())}:
            path = f"{self.path}/{_index.INDEX}"
            raise StateError(f"{path}: parts: it does not fit the files, see {_some(wrong)}")
        files = dict(zip(index.tensors, self._files, strict=True))
        for name, parts in index.parts.items():
            block, pieces = parts.chunk // max(1, parts.unit), []
            for place, first, count in parts.pieces:
                tensor = files[place].tensors[name]
                if (tensor.dtype, tensor.shape) != (parts.dtype, (count, *parts.unit_shape)):
                    raise StateError(f"{files[place].path}: '{name}': the index says otherwise")
                pieces.append(_Piece(first // block, files[place], tensor))
            sums = tuple(digits for piece in pieces for digits in piece.tensor.checksums)
            whole = Tensor(name, parts.dtype, parts.shape, 0, sums, parts.chunk, parts.buckets)
            self._of[name] = _Stored(whole, pieces)

    def _check_whole(self, index: _index.Index) -> None:
        """What the header says is there, and nothing else."""
        path = f"{self.path}/{_index.INDEX}"
        total = sum(tensor.size for file in self._files for tensor in file.tensors.values())
        if total != index.total:
            raise StateError(f"{path}: expected a total_size of {total}, got {index.total}")
        if not self._files:
            raise StateError(f"{path}: expected files")
        if missing := _format.named(self._files[0].metadata) - self._of.keys():
            raise StateError(f"{path}: {_some(missing)}: in no file")

    @property
    def names(self) -> list[str]:
        return list(self._of)

    def __contains__(self, name: object) -> bool:
        return name in self._of

    def tensor(self, name: str) -> Tensor:
        """Shape, dtype and place of a tensor.

        Raises:
            KeyError: there is none of this name.
        """
        if name not in self._of:
            raise KeyError(f"{self.path}: there is no '{name}', but {_some(self._of)}")
        return self._of[name].tensor

    def read(
        self, name: str, rows: slice | None = None, mmap: bool = False, verify: bool = True
    ) -> NDArray[Any]:
        """One tensor; see `slotwise.load_array`."""
        tensor = self.tensor(name)
        if mmap and name in self.metadata.get("parts", ()):
            raise ValueError(f"{self.path}: mmap: '{name}' is in parts: expected False, got True")
        first, last = _rows_of(tensor, rows)
        if tensor.buckets:
            first, last = (first, last) if rows is not None else (0, tensor.shape[0])
            return self._read_rows(tensor, first, last, verify)
        row = tensor.size // tensor.shape[0] if rows is not None and tensor.shape[0] else 0
        begin, end = (0, tensor.size) if rows is None else (first * row, last * row)
        shape = tensor.shape if rows is None else (last - first, *tensor.shape[1:])
        if mmap:
            if verify:
                self.fill([Part(tensor, begin, end, None)])
            return self._view(tensor, begin, shape)
        out = np.empty(shape, tensor.dtype)
        self.fill([Part(tensor, begin, end, IntoArray(out))], verify)
        return out

    def _read_rows(self, tensor: Tensor, first: int, last: int, verify: bool) -> NDArray[Any]:
        """Rows that lie in the order of their buckets; of each chunk that has some, once."""
        out = np.empty((last - first, *tensor.shape[1:]), tensor.dtype)
        if not out.size:
            return out
        row, placement = out.nbytes // len(out), Placement.even(tensor.shape[0], 1)
        places = np.sort(placement.places(np.arange(first, last)))
        begins = np.flatnonzero(np.diff(places // (tensor.chunk // row), prepend=-1))
        lasts = np.append(begins[1:], len(places)) - 1
        parts = []
        for begin, end in zip(places[begins].tolist(), places[lasts].tolist(), strict=True):
            sink = IntoStored(out, placement, first, begin)
            parts.append(Part(tensor, begin * row, (end + 1) * row, sink))
        self.fill(parts, verify)
        return out

    def _view(self, tensor: Tensor, begin: int, shape: tuple[int, ...]) -> NDArray[Any]:
        count = int(np.prod(shape, dtype=np.int64))
        if count == 0:
            return np.empty(shape, tensor.dtype)
        mapped = self._of[tensor.name].pieces[0].file.mapped
        first = tensor.begin + begin
        return (
            mapped[first : first + count * tensor.dtype.itemsize].view(tensor.dtype).reshape(shape)
        )

    def fill(
        self,
        parts: Iterable[Part],
        verify: bool = True,
        advance: Callable[[int], Any] = lambda count: None,
    ) -> None:
        """Read parts of tensors into their places, in threads."""
        tasks = (
            (part, number) for part in parts for number in _chunks_of(part) if part.end > part.begin
        )

        def work(task: tuple[Part, int]) -> None:
            self._read_chunk(*task, verify)

        def count(task: tuple[Part, int]) -> None:
            part, number = task
            begin, end = part.tensor.bounds(number)
            advance(min(part.end, end) - max(part.begin, begin))

        _threads.run(tasks, work, count)

    def verify(
        self,
        chunks: Iterable[tuple[Tensor, range]],
        advance: Callable[[int], Any] = lambda count: None,
    ) -> Iterator[None]:
        """Read chunks of tensors and verify them, bit by bit: it yields after some."""

        def work(task: tuple[Tensor, int]) -> None:
            self._read_chunk(Part(task[0], *task[0].bounds(task[1]), None), task[1], True)

        def count(task: tuple[Tensor, int]) -> None:
            begin, end = task[0].bounds(task[1])
            advance(end - begin)

        tasks = ((tensor, number) for tensor, numbers in chunks for number in numbers)
        return _threads.in_batches(tasks, work, count)

    def _read_chunk(self, part: Part, number: int, verify: bool) -> None:
        before, file, tensor = self._of[part.tensor.name].at(number)
        if part.sink is None:
            file.verify(tensor, number - before)
            return
        first, last = part.tensor.bounds(number)
        begin, end = max(part.begin, first), min(part.end, last)
        if not verify:
            first, last = begin, end
        memory = None
        if (begin, end) == (first, last):
            memory = part.sink.memory(begin - part.begin, end - part.begin)
        is_placed = memory is not None
        if memory is None:
            memory = _buffer(last - first)
        file.read(memory, tensor, first - before * tensor.chunk)
        if verify:
            file.compare(_checksums.checksum(memory), tensor, number - before)
        if not is_placed:
            part.sink.put(begin - part.begin, memory[begin - first : end - first])

    def close(self) -> None:
        """Close the files; views stay valid."""
        kept = [file.kept for file in self._files if file.kept is not None]
        deque(map(FileIO.close, kept), maxlen=0)  # all in one call, which no interrupt ends
        self._files.clear()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _is_still(place: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(place), found)
    except OSError:
        return False


def _agree(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two files of a checkpoint say the same; as text, NaN is the same as NaN."""
    if a is b:
        return True
    a, b = ({**metadata, "checksums": None} for metadata in (a, b))
    return a == b or json.dumps(a) == json.dumps(b)


def _chunks_of(part: Part) -> range:
    """The numbers of the chunks that have its bytes."""
    size = part.tensor.chunk
    return range(part.begin // size, _checksums.chunks(part.end, size))


def _buffer(size: int) -> NDArray[np.uint8]:
    """The buffer of this thread."""
    if not hasattr(_buffers, "memory") or _buffers.memory.size < size:  # of rows that are larger
        _buffers.memory = np.empty(max(size, _checksums.CHUNK), np.uint8)
    memory: NDArray[np.uint8] = _buffers.memory[:size]
    return memory


def _rows_of(tensor: Tensor, rows: slice | None) -> tuple[int, int]:
    if rows is None:
        return 0, 0
    if not isinstance(rows, slice) or rows.step not in (None, 1) or not tensor.shape:
        what = f"load_array: rows of '{tensor.name}', shape {tensor.shape}"
        raise ValueError(f"{what}: expected a slice of step 1, got {rows}")
    first, last, _ = rows.indices(tensor.shape[0])
    return first, max(first, last)


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return ", ".join(repr(name) for name in found[:5]) + more
