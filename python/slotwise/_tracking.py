"""Which rows of a variable were updated, for checkpoints that hold just those."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slotwise._identity import Memory, memory_of


class TouchedRows:
    """The rows of one array that were updated since a checkpoint; see `slotwise.track`.

    Attributes:
        since: the id of that checkpoint, or None if there is none yet.
        names: what that checkpoint holds.
    """

    def __init__(self, count: int) -> None:
        self._touched = np.zeros(count, np.bool_)
        self.since: str | None = None
        self.names: frozenset[str] = frozenset()

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
        ids = np.asarray(rows)
        self._touched[ids[(ids >= 0) & (ids < self._touched.size)]] = True

    def restart(self, since: str, names: Iterable[str]) -> None:
        """Begin anew from a checkpoint that holds these names."""
        self._touched[:] = False
        self.since, self.names = since, frozenset(names)


# By their memory: arrays that are tracked, and their slots; with what keeps the memory alive.
_tracked: dict[Memory, tuple[weakref.ref[Any], TouchedRows]] = {}


def start(array: NDArray[Any]) -> TouchedRows:
    found = find(array)
    if found is None:
        found = TouchedRows(array.shape[0])
        follow(array, found)
    return found


def follow(array: NDArray[Any], touched: TouchedRows) -> None:
    """Have what changes an array (a slot) count as a change of those rows."""
    key = memory_of(array)
    owner = array.base if isinstance(array.base, np.ndarray) else array  # of a view, what it is of
    _tracked[key] = weakref.ref(owner, lambda dead: _forget(key, dead)), touched


def _forget(key: Memory, dead: weakref.ref[Any]) -> None:
    if key in _tracked and _tracked[key][0] is dead:  # and no other array of the same memory
        del _tracked[key]


def stop(array: NDArray[Any]) -> None:
    touched = find(array)
    for key in [key for key, (_, found) in _tracked.items() if found is touched]:
        del _tracked[key]


def find(array: NDArray[Any]) -> TouchedRows | None:
    ref, touched = _tracked.get(memory_of(array), (None, None))
    return touched if ref is not None and ref() is not None else None


def is_used() -> bool:
    return bool(_tracked)


def mark(array: NDArray[Any], rows: Any = None) -> None:
    """Count rows of an array as touched, if it is tracked; None means all."""
    if _tracked and (found := find(array)) is not None:
        found.mark(rows)
