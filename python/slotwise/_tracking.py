"""Which rows of a variable were updated, for checkpoints that hold just those."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class TouchedRows:
    """The rows of one array that were updated since a checkpoint; see `slotwise.track`.

    Attributes:
        since: the id of that checkpoint, or None if there is none yet.
        names: what that checkpoint holds.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = weakref.ref(array)
        self._touched = np.zeros(array.shape[0], np.bool_)
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

    def is_of(self, array: NDArray[Any]) -> bool:
        return self._array() is array


_tracked: dict[int, TouchedRows] = {}  # by the identities of arrays


def start(array: NDArray[Any]) -> TouchedRows:
    found = find(array)
    if found is None:
        key = id(array)
        found = _tracked[key] = TouchedRows(array)
        weakref.finalize(array, _tracked.pop, key, None)
    return found


def stop(array: NDArray[Any]) -> None:
    if find(array) is not None:
        del _tracked[id(array)]


def find(array: NDArray[Any]) -> TouchedRows | None:
    found = _tracked.get(id(array))
    return found if found is not None and found.is_of(array) else None


def is_used() -> bool:
    return bool(_tracked)


def mark(array: NDArray[Any], rows: Any = None) -> None:
    """Count rows of an array as touched, if it is tracked; None means all."""
    if _tracked and (found := find(array)) is not None:
        found.mark(rows)
