# SPDX-License-Identifier: Apache-2.0
"""The work of saving state to disk and loading it."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.work.base import Array, Work, drawn, filled
from bench.work.contestant import State, Subject, Unsupported

# Restore: load into the arrays that are there, of which nothing is lost if the file is damaged.
CALLS = ("save", "load", "restore")
_TENSORS = 4
_BLOCK = 8 << 20


@dataclass(frozen=True, kw_only=True)
class StateWork(Work):
    """A few arrays of one dtype, ``size`` elements together."""

    call: str
    size: int

    @property
    def bytes_moved(self) -> int:
        return self.size // _TENSORS * _TENSORS * self.dtype.itemsize

    @property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        return {}

    def before(self, name: str, part: slice) -> Array:
        return self._pattern[: part.stop - part.start]

    @property
    def _pattern(self) -> Array:
        return drawn(self.seed, 0, 1 << 18).astype(self.dtype)

    def arrays(self) -> dict[str, Array]:
        size = self.size // _TENSORS
        return {f"t{n}": filled(self._pattern, size) for n in range(_TENSORS)}

    def subject(
        self,
        calls: dict[str, str],
        suffix: str,
        names: dict[str, Any],
        read: Callable[[Path], dict[str, Array]],
    ) -> Subject:
        """The statement of one of the calls, on a file that exists.

        What is saved must be on the disk in the end: the call is followed by ``sync(path)`` if the
        library does not see to it. Before it is loaded the file leaves the page cache.
        """
        if self.call not in calls:
            raise Unsupported(f"it does not {self.call} arrays that are there")
        folder = Path(tempfile.mkdtemp(prefix="slotwise-bench-"))
        path, arrays = folder / f"state{suffix}", self.arrays()
        everything = {"path": path, "arrays": arrays, "sync": sync, "evict": evict, **names}
        exec(calls["save"], everything)

        def state() -> State:
            return [{"t0": read(path)["t0"]}]

        statement = calls[self.call]
        if self.call != "save":
            statement = f"evict(path); found = {statement}"
        subject = Subject(statement, everything, state)
        weakref.finalize(subject, shutil.rmtree, folder, True)
        return subject


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def evict(path: Path) -> None:
    """Have the system forget what it keeps of a file, or of those in a folder."""
    for file in path.iterdir() if path.is_dir() else [path]:
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def write_plainly(path: Path, arrays: dict[str, Array]) -> None:
    """The same bytes, one after the other, without names or checksums."""
    with open(path, "wb", buffering=0) as file:
        for array in arrays.values():
            view = array.view(np.uint8).data
            while view:
                view = view[file.write(view[:_BLOCK]) :]
        os.fsync(file.fileno())


def read_plainly(path: Path, arrays: dict[str, Array]) -> dict[str, Array]:
    return restore_plainly(path, {name: np.empty_like(x) for name, x in arrays.items()})


def restore_plainly(path: Path, arrays: dict[str, Array]) -> dict[str, Array]:
    with open(path, "rb", buffering=0) as file:
        for array in arrays.values():
            view = array.view(np.uint8).data
            while view:
                view = view[file.readinto(view[:_BLOCK]) or 0 :]
    return arrays


def plain(work: StateWork) -> Subject:
    """What shows the limit."""
    names = {"write": write_plainly, "read": read_plainly, "restore": restore_plainly}
    arrays = work.arrays()
    return work.subject(
        {call: f"{name}(path, arrays)" for call, name in zip(CALLS, names, strict=True)},
        ".bin",
        names,
        lambda path: read_plainly(path, arrays),
    )
