"""Tensors of a checkpoint: found, verified, and read."""

from __future__ import annotations

import json
import mmap as _mmap
import os
import threading
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise.state import _atomic, _checksums, _format, _threads
from slotwise.state._errors import StateError
from slotwise.state._format import Tensor
from slotwise.state._memory import IntoArray, Sink
from slotwise.state._writer import INDEX, INDEX_BEFORE, SUFFIX

_buffers = threading.local()
_BLOCK = 1 << 18


class Part(NamedTuple):
    """Bytes of a tensor, and where they go; None: nowhere, they are only verified."""

    tensor: Tensor
    begin: int
    end: int
    sink: Sink | None


class _File:
    """A safetensors file, open for reading."""

    def __init__(self, path: str, handle: int) -> None:
        self.path, self.handle = path, handle
        if hasattr(os, "posix_fadvise"):  # threads that read in turn do not look sequential
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        size = os.fstat(handle).st_size
        length = int.from_bytes(os.pread(handle, 8, 0), "little")
        if size < 8 or length > min(_format.LIMIT, size - 8):
            raise StateError(f"{path}: a header of {length} bytes does not fit {size}: damaged")
        text = os.pread(handle, length, 8)
        self.metadata, self.tensors = _format.decode(path, text, size)

    @cached_property
    def mapped(self) -> _mmap.mmap:
        return _mmap.mmap(self.handle, 0, access=_mmap.ACCESS_READ)

    def read(self, memory: NDArray[Any], tensor: Tensor, begin: int) -> None:
        """Fill memory from a tensor's byte on."""
        view, at = memory.data, tensor.begin + begin
        while view:
            count = os.preadv(self.handle, [view], at)
            if count == 0:
                raise StateError(f"{self.path}: '{tensor.name}': the file ends at byte {at}")
            view, at = view[count:], at + count

    def verify(self, tensor: Tensor, chunk: int) -> None:
        """Read a chunk in blocks, which are still in the cache when they are hashed."""
        begin, end = _bounds(tensor, chunk)
        found = _checksums.Running()
        for first in range(begin, end, _BLOCK):
            memory = _buffer(min(_BLOCK, end - first))
            self.read(memory, tensor, first)
            found.add(memory.data)
        self.compare(found.value, tensor, chunk)

    def compare(self, found: str, tensor: Tensor, chunk: int) -> None:
        if tensor.checksums and found != tensor.checksums[chunk]:
            begin, end = (tensor.begin + place for place in _bounds(tensor, chunk))
            raise StateError(
                f"{self.path}: '{tensor.name}' is damaged: the checksum of the file's bytes "
                f"{begin} to {end} is wrong"
            )


class Reader:
    """A checkpoint, open for reading; it stays what it was when it is replaced meanwhile.

    Any safetensors file can be read, and any folder with an index; what slotwise did not write has
    no checksums.

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
        self._of: dict[str, _File] = {}
        place = _atomic.current(Path(path))
        try:
            if place.is_dir():
                self._open_folder(place)
            elif place.is_file():
                self._open_file(str(place), None)
            else:
                raise StateError(f"{path}: there is no checkpoint")
        except BaseException:
            self.close()
            raise
        self.metadata: dict[str, Any] = self._files[0].metadata if self._files else {}

    def _open_file(self, name: str, folder: int | None) -> _File:
        path = name if folder is None else f"{self.path}/{name}"
        try:
            handle = os.open(name, os.O_RDONLY, dir_fd=folder)
        except FileNotFoundError:
            raise StateError(f"{path}: the file is missing") from None
        try:
            file = _File(path, handle)
        except BaseException:
            os.close(handle)
            raise
        self._files.append(file)
        self._of |= dict.fromkeys(file.tensors, file)
        return file

    def _open_folder(self, place: Path) -> None:
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            identity, names, weight_map = self._index(folder)
            for name in names:
                expected = {t for t, n in weight_map.items() if n == name}
                try:
                    file = self._open_file(name, folder)
                except StateError as error:
                    raise StateError(f"{error} (tensors: {_some(expected)})") from None
                if file.metadata.get("id") != identity:
                    raise StateError(f"{file.path}: it is of another checkpoint than the index")
                if expected != set(file.tensors):
                    wrong = _some(expected ^ set(file.tensors))
                    raise StateError(f"{file.path}: the index does not fit, see {wrong}")
        finally:
            os.close(folder)

    def _index(self, folder: int) -> tuple[str | None, list[str], dict[str, str]]:
        """The id, the files, and of each tensor its file."""
        path = f"{self.path}/{INDEX}"
        try:
            with open(os.open(INDEX, os.O_RDONLY, dir_fd=folder), "rb") as file:
                text = file.read(min(_format.LIMIT, os.fstat(file.fileno()).st_size))
        except FileNotFoundError:
            raise StateError(f"{path}: the file is missing: no checkpoint") from None
        try:
            content = json.loads(text)
            identity, weight_map = content["metadata"].get("id"), content["weight_map"]
            names = content["metadata"].get("files") or sorted(set(weight_map.values()))
            is_whole = identity is None or type(identity) is str
            is_whole &= all(type(n) is str and n.endswith(SUFFIX) and "/" not in n for n in names)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StateError(f"{path}: it is damaged: {error!r}") from None
        if not is_whole:
            raise StateError(f"{path}: expected names of {SUFFIX} files beside it")
        is_ours = _checksums.ALGORITHM.encode() in text or identity is not None
        if is_ours and not _checksums.is_sealed(text, INDEX_BEFORE):
            raise StateError(f"{path}: it is damaged: its checksum is wrong")
        return identity, names, weight_map

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
        return self._of[name].tensors[name]

    def read(
        self, name: str, rows: slice | None = None, mmap: bool = False, verify: bool = True
    ) -> NDArray[Any]:
        """One tensor; see `slotwise.load_array`."""
        tensor = self.tensor(name)
        first, last = _rows_of(tensor, rows)
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

    def _view(self, tensor: Tensor, begin: int, shape: tuple[int, ...]) -> NDArray[Any]:
        count = int(np.prod(shape, dtype=np.int64))
        if count == 0:
            return np.empty(shape, tensor.dtype)
        mapped = self._of[tensor.name].mapped
        return np.frombuffer(mapped, tensor.dtype, count, tensor.begin + begin).reshape(shape)

    def fill(
        self,
        parts: Iterable[Part],
        verify: bool = True,
        advance: Callable[[int], Any] = lambda count: None,
    ) -> None:
        """Read parts of tensors into their places, in threads."""
        size = _checksums.CHUNK
        tasks = (
            (part, number)
            for part in parts
            for number in range(part.begin // size, _checksums.chunks(part.end))
            if part.end > part.begin
        )

        def work(task: tuple[Part, int]) -> None:
            self._read_chunk(*task, verify)

        def count(task: tuple[Part, int]) -> None:
            part, number = task
            advance(min(part.end, (number + 1) * size) - max(part.begin, number * size))

        _threads.run(tasks, work, count)

    def _read_chunk(self, part: Part, number: int, verify: bool) -> None:
        tensor, file = part.tensor, self._of[part.tensor.name]
        if part.sink is None:
            file.verify(tensor, number)
            return
        first, last = _bounds(tensor, number)
        begin, end = max(part.begin, first), min(part.end, last)
        if not verify:
            first, last = begin, end
        memory = None
        if (begin, end) == (first, last):
            memory = part.sink.memory(begin - part.begin, end - part.begin)
        is_placed = memory is not None
        if memory is None:
            memory = _buffer(last - first)
        file.read(memory, tensor, first)
        if verify:
            file.compare(_checksums.checksum(memory), tensor, number)
        if not is_placed:
            part.sink.put(begin - part.begin, memory[begin - first : end - first])

    def close(self) -> None:
        """Close the files; views stay valid."""
        for file in self._files:
            os.close(file.handle)
        self._files.clear()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _buffer(size: int) -> NDArray[np.uint8]:
    """This thread's own."""
    if not hasattr(_buffers, "memory"):
        _buffers.memory = np.empty(_checksums.CHUNK, np.uint8)
    memory: NDArray[np.uint8] = _buffers.memory[:size]
    return memory


def _bounds(tensor: Tensor, chunk: int) -> tuple[int, int]:
    """Of a chunk, within the tensor."""
    begin = chunk * _checksums.CHUNK
    return begin, min(begin + _checksums.CHUNK, tensor.size)


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
