# SPDX-License-Identifier: Apache-2.0
"""Which rows of a variable were updated, for checkpoints that hold just those."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments
from slotwise._identity import Memory, memory_of
from slotwise._lock import Lock
from slotwise._overlap import Spans


class TouchedRows:
    """The rows of one array that were updated since a checkpoint; see `slotwise.track`.

    Attributes:
        since: the id of that checkpoint, or None if there is none yet.
        names: what that checkpoint holds.
        memory: of a tensor that is tracked.
    """

    def __init__(self, count: int) -> None:
        self._touched = np.zeros(count, np.bool_)
        self.lock = Lock()  # of whoever writes a checkpoint, or reads one
        self.since: str | None = None
        self.names: frozenset[str] = frozenset()
        self.memory: NDArray[Any] | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """The touched rows, in ascending order."""
        return np.flatnonzero(self._touched).astype(np.int64, copy=False)

    def mark(self, rows: Any = None) -> None:
        """Count rows as touched: those of these ids, or all of them.

        For changes that no optimizer and no ``assign`` makes.
        """
        if rows is None:
            self._touched[:] = True
            return
        ids = _arguments.array("TouchedRows.mark", "rows", rows)
        if ids.size and ids.dtype.kind not in "iu":
            raise _arguments.refused("TouchedRows.mark", "rows", "integers", ids)
        ids = ids.astype(np.int64, copy=False)
        self._touched[ids[(ids >= 0) & (ids < self._touched.size)]] = True

    def set_aside(self) -> NDArray[np.bool_]:
        """Which rows are touched; they count no longer, only what is marked from now on."""
        touched, self._touched = self._touched, np.zeros_like(self._touched)
        return touched

    def put_back(self, touched: NDArray[np.bool_]) -> None:
        """Count rows again that were set aside."""
        self._touched[touched] = True  # and no other: those may be marked meanwhile

    def count_from(self, since: str, names: Iterable[str]) -> None:
        """Count from a checkpoint that holds these names; what was set aside is in it."""
        with _counting:
            self.since, self.names = since, frozenset(names)

    def count_again(
        self, failed: str, touched: NDArray[np.bool_], since: str | None, names: frozenset[str]
    ) -> None:
        """Count as before a checkpoint that was not written after all.

        Unless rows count from another one by now: what was loaded since has them all.
        """
        with _counting:
            if self.since == failed:
                self.put_back(touched)
                self.since, self.names = since, names


_counting = threading.RLock()  # a signal handler may save, too
os.register_at_fork(after_in_child=_counting._at_fork_reinit)  # type: ignore[attr-defined]


# The arrays that are tracked, and their slots, by their memory; for as long as it is there.
_tracked: dict[Memory, tuple[weakref.ref[Any], TouchedRows]] = {}
_version = object()  # another one after each change of these
_spans: tuple[object, Spans, list[TouchedRows]] | None = None  # of a version


def start(array: NDArray[Any], tensor: Any = None) -> TouchedRows:
    """Track an array, which may be over the memory of a tensor."""
    found = find(array)
    if found is None:
        found = TouchedRows(array.shape[0])
        if tensor is not None:  # which may be given other memory: then this is not used again
            found.memory = array
        follow(array, found, tensor)
    return found


def follow(array: NDArray[Any], touched: TouchedRows, tensor: Any = None) -> None:
    """Have what changes an array (a slot) count as a change of those rows."""
    global _version
    key, owner = memory_of(array), array if tensor is None else tensor
    while isinstance(owner, np.ndarray) and isinstance(owner.base, np.ndarray):
        owner = owner.base
    if key not in _tracked or _tracked[key][1] is not touched:
        _tracked[key] = weakref.ref(owner, lambda dead: _forget(key, dead)), touched
        _version = object()


def _forget(key: Memory, dead: weakref.ref[Any]) -> None:
    global _version
    if key in _tracked and _tracked[key][0] is dead:  # and no other array in the same place
        del _tracked[key]
        _version = object()


def stop(array: NDArray[Any]) -> None:
    global _version
    touched = find(array)
    for key in [key for key, (_, found) in list(_tracked.items()) if found is touched]:
        del _tracked[key]
    _version = object()


def find(array: NDArray[Any]) -> TouchedRows | None:
    return _tracked.get(memory_of(array), (None, None))[1] if _tracked else None


# What changes as a whole at this moment, and the process: a child of fork has entries of threads
# that do not run there, of which only those count that are of the moment it is to write.
_under_way: dict[int, tuple[int, tuple[NDArray[Any], ...]]] = {}


class changing:
    """The context manager of a ``with`` statement that changes arrays as a whole.

    All rows count as touched, before the change and after it: whoever writes a checkpoint meanwhile
    may have the rows without the change.
    """

    def __init__(self, *arrays: NDArray[Any]) -> None:
        self._arrays = arrays

    def __enter__(self) -> None:
        _under_way[id(self)] = os.getpid(), self._arrays
        self._mark()

    def __exit__(self, *exception: object) -> None:
        self._mark()
        _under_way.pop(id(self), None)

    def _mark(self) -> None:
        for array in self._arrays:
            mark(array)


def under_way(process: int) -> Spans:
    """The memory of what changes as a whole in a process at this moment."""
    found = [arrays for its, arrays in [*_under_way.values()] if its == process]
    return Spans(memory_of(array) for arrays in found for array in arrays)


is_used = _tracked.__len__  # whether there are any; no function of Python's: each step asks


def mark(array: NDArray[Any], rows: Any = None) -> None:
    """Count rows of an array as touched, if it is tracked; None means all.

    Of what is tracked and shares memory with it, all rows count.
    """
    if not _tracked:
        return
    own = find(array)
    if own is not None:
        own.mark(rows)
    for touched in _sharing(array):
        if touched is not own:
            touched.mark()


def _sharing(array: NDArray[Any]) -> list[TouchedRows]:
    global _spans
    known = _spans
    if known is None or known[0] is not _version:
        version, items = _version, list(_tracked.items())
        known = version, Spans(key for key, _ in items), [touched for _, (_, touched) in items]
        _spans = known
    _, spans, found = known
    return [found[place] for place in spans.sharing(memory_of(array))]
