# SPDX-License-Identifier: Apache-2.0
"""Who may change or read the arrays of an optimizer: one thread at a time."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from numpy.typing import NDArray

from slotwise._identity import memory_of
from slotwise._overlap import Spans


class Lock:
    """A re-entrant lock, of an optimizer or of what tracks a variable.

    A step takes it by `step`, what reads or writes state by `held`, which steps let go first: a
    loop of steps would leave it no moment. A copy is a new lock. A forked child has locks that
    nobody holds: whoever held them does not run there.
    """

    __slots__ = ("__weakref__", "_is_wanted", "_number", "_owned", "_turn")

    def __init__(self) -> None:
        self._number = next(_numbers)
        self._renew()
        _locks[self._number] = weakref.ref(self, _forgetting(_locks, self._number))

    def _renew(self) -> None:
        self._owned = threading.RLock()
        self._turn = threading.RLock()  # a signal handler may come between, and save
        self._is_wanted = False

    def __reduce__(self) -> Any:
        return Lock, ()

    def step(self) -> Any:
        """What the ``with`` of a step takes."""
        if self._is_wanted and not _owns_any():  # who owns one may be waited for
            with self._turn:
                pass
        return self._owned


_numbers = itertools.count()
_locks: dict[int, weakref.ref[Lock]] = {}


def _forgetting(references: dict[int, Any], number: int) -> Any:
    return lambda dead: references.pop(number, None)


def _existing(references: dict[int, weakref.ref[Any]]) -> list[Any]:
    found = [reference() for reference in list(references.values())]
    return [each for each in found if each is not None]


def _owns_any() -> bool:
    """Whether this thread owns a lock."""
    return any(lock._owned._is_owned() for lock in _existing(_locks))


@contextmanager
def held(locks: Iterable[Lock]) -> Iterator[None]:
    """Hold several locks at once, after the steps that are in progress.

    It waits for one without holding another: a step may take a second lock, in any order.
    """
    ordered = sorted(set(locks), key=lambda lock: lock._number)
    with ExitStack() as turns:
        if not _owns_any():
            for lock in ordered:
                turns.enter_context(lock._turn)
                turns.callback(setattr, lock, "_is_wanted", False)
                lock._is_wanted = True
        while True:
            with ExitStack() as owned:
                busy = _first_busy(ordered, owned)
                if busy is None:
                    turns.close()
                    yield
                    return
            ordered.remove(busy)
            ordered.insert(0, busy)


def _first_busy(locks: list[Lock], owned: ExitStack) -> Lock | None:
    """Take locks, waiting for the first; returns one of the others that somebody has."""
    for number, lock in enumerate(locks):
        if number == 0:
            owned.enter_context(lock._owned)
        elif lock._owned.acquire(blocking=False):
            owned.callback(lock._owned.release)
        else:
            return lock
    return None


# ----- of optimizers -----------------------------------------------------------------------------


class _OwnLock:
    """An attribute: the lock of an optimizer, made when it is first asked for."""

    def __get__(self, optimizer: Any, owner: type[Any]) -> Lock:
        new = Lock()
        lock: Lock = vars(optimizer).setdefault("_lock", new)
        if lock is new:
            _optimizers[lock._number] = weakref.ref(
                optimizer, _forgetting(_optimizers, lock._number)
            )
        return lock


class Locked:
    """An optimizer, or a part of one."""

    _lock = _OwnLock()  # held by steps, and by whatever else reads or writes state

    def _memory(self) -> list[NDArray[Any]]:
        """Hook: the arrays that its steps change, as far as it has met them.

        Other threads call it, in the middle of a step.
        """
        return []


_optimizers: dict[int, weakref.ref[Any]] = {}  # those that may have made a step


def locks_of(optimizers: Iterable[Locked]) -> set[Lock]:
    return {optimizer._lock for optimizer in optimizers}


def of_users(spans: Spans) -> list[Lock]:
    """The locks of the optimizers whose steps change this memory."""
    return [
        optimizer._lock
        for optimizer in _existing(_optimizers)
        if any(True for own in optimizer._memory() for _ in spans.sharing(memory_of(own)))
    ]


def _after_fork() -> None:
    for lock in _existing(_locks):
        lock._renew()


os.register_at_fork(after_in_child=_after_fork)
