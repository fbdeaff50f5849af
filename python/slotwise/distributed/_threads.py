# SPDX-License-Identifier: Apache-2.0
"""Ranks that are threads of this process, for tests and for trying out what many would do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from slotwise import _arguments
from slotwise.distributed._checked import (
    Bytes,
    Checked,
    ended,
    late,
    other_call,
    other_size,
    timeout_of,
)
from slotwise.distributed._communicator import DistributedError

Result = TypeVar("Result")


class World:
    """What threads share: a box for each message, and where they meet."""

    def __init__(self, size: int, timeout: float) -> None:
        self.size, self.timeout = size, timeout
        self.boxes: list[list[Bytes]] = [[] for _ in range(size)]  # by sender, for each receiver
        self.calls: dict[int, str] = {}  # of those that are here
        self.meetings = 0
        self.failure: str | None = None
        self.changed = threading.Condition()

    def meet(self, rank: int, call: str) -> None:
        """Return when all ranks are here, having made the same call."""
        with self.changed:
            meeting = self.meetings
            other = next(iter(self.calls.items()), (rank, call))
            if other[1] != call:
                self._fail(str(other_call(rank, call, *other)))
            self.calls[rank] = call
            if len(self.calls) == self.size and self.failure is None:
                self.calls = {}
                self.meetings += 1
                self.changed.notify_all()
            self.changed.wait_for(
                lambda: self.meetings > meeting or self.failure is not None, self.timeout
            )
            if self.meetings == meeting:  # a failure after it harms later calls alone
                if self.failure is None:
                    missing = sorted({*range(self.size)} - {*self.calls})
                    self._fail(str(late(self.timeout, missing, call, rank)))
                raise DistributedError(self.failure)

    def fail(self, reason: str) -> None:
        with self.changed:
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self.changed.notify_all()


class ThreadRank(Checked):
    """One of the ranks that `in_threads` runs."""

    def __init__(self, world: World, rank: int) -> None:
        super().__init__(rank, world.size)
        self._world = world

    def _exchange(self, call: str, send: list[Bytes], receive: list[Bytes]) -> None:
        world = self._world
        world.boxes[self.rank] = send
        world.meet(self.rank, call)
        parts = [world.boxes[other][self.rank] for other in range(self.size)]
        for other, (part, place) in enumerate(zip(parts, receive, strict=True)):
            if len(part) != len(place):
                world.fail(str(other_size(self.rank, call, other)))
            elif other != self.rank:
                place[...] = part
        world.meet(self.rank, call)  # those who sent may change it from here on

    def _tell(self, reason: str) -> None:
        self._world.fail(reason)


def in_threads(
    ranks: int,
    function: Callable[..., Result],
    *arguments: Any,
    timeout: float = 60.0,
) -> list[Result]:
    """Run ``function(comm, *arguments)`` on as many threads, each a rank; returns their results.

    An exception on one rank ends the calls of all, and is raised here.

    Args:
        ranks: how many.
        function: what each runs.
        arguments: passed on.
        timeout: seconds that a rank waits for the others in a call.

    Raises:
        TypeError: not a number of ranks, or of seconds.
        ValueError: no rank, or no time.

    Example:
        >>> import numpy as np
        >>> from slotwise import distributed
        >>> def sum_of_ranks(comm):
        ...     found = np.empty((comm.size, 1), np.int64)
        ...     comm.all_gather(np.array([comm.rank]), found)
        ...     return int(found.sum())
        >>> distributed.in_threads(3, sum_of_ranks)
        [3, 3, 3]
    """
    return run("in_threads", ranks, ThreadRank, function, arguments, timeout)


def run(
    op: str,
    ranks: int,
    make: Callable[[World, int], ThreadRank],
    function: Callable[..., Result],
    arguments: tuple[Any, ...],
    timeout: float,
) -> list[Result]:
    """What `in_threads` does, with ranks of another kind."""
    ranks = _arguments.index_of(op, "ranks", ranks)
    if ranks < 1:
        raise ValueError(f"{op}: ranks: expected 1 or more, got {ranks}")
    world = World(ranks, timeout_of(op, timeout))
    results: list[Any] = [None] * ranks
    errors: list[BaseException | None] = [None] * ranks

    def one(rank: int) -> None:
        comm = make(world, rank)
        try:
            results[rank] = function(comm, *arguments)
        except BaseException as error:  # raised again below
            errors[rank] = error
            comm.abort(f"{type(error).__name__}: {error}")
        world.fail(ended(rank))

    threads = [threading.Thread(target=one, args=(rank,), daemon=True) for rank in range(ranks)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:  # Ctrl-C, say
        world.fail(type(error).__name__)
        raise
    found = [error for error in errors if error is not None]
    if found:
        raise next((e for e in found if not isinstance(e, DistributedError)), found[0])
    return results
