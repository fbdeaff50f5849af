# SPDX-License-Identifier: Apache-2.0
"""Ranks that are threads of this process, for tests and for trying out what many would do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slotwise.distributed._communicator import DistributedError

Result = TypeVar("Result")


class _World:
    """What threads share: a box for each message, and where they meet."""

    def __init__(self, size: int, timeout: float | None) -> None:
        self.size = size
        self.boxes: list[list[Any]] = [[None] * size for _ in range(size)]
        self.meeting = threading.Barrier(size, timeout=timeout)
        self.reason: str | None = None
        self.failed = threading.Lock()

    def meet(self) -> None:
        try:
            self.meeting.wait()
        except threading.BrokenBarrierError:
            with self.failed:
                reason = self.reason or "a rank was late"
            raise DistributedError(reason) from None

    def abort(self, reason: str) -> None:
        with self.failed:
            self.reason = self.reason or reason
        self.meeting.abort()


class ThreadRank:
    """One of the ranks that `in_threads` runs."""

    def __init__(self, world: _World, rank: int) -> None:
        self._world, self.rank, self.size = world, rank, world.size

    def all_to_all(self, send: NDArray[Any], receive: NDArray[Any]) -> None:
        ones = [1] * self.size
        self.all_to_all_v(send, ones, receive, ones)

    def all_to_all_v(
        self,
        send: NDArray[Any],
        send_counts: Sequence[int],
        receive: NDArray[Any],
        receive_counts: Sequence[int],
    ) -> None:
        ends = np.cumsum(send_counts)
        for other, (count, end) in enumerate(zip(send_counts, ends, strict=True)):
            self._world.boxes[other][self.rank] = send[end - count : end]
        self._world.meet()
        end = 0
        for count, part in zip(receive_counts, self._world.boxes[self.rank], strict=True):
            receive[end : end + count] = part
            end += count
        self._world.meet()

    def all_gather(self, send: NDArray[Any], receive: NDArray[Any]) -> None:
        self.all_to_all(np.broadcast_to(send, receive.shape), receive)

    def barrier(self) -> None:
        self._world.meet()

    def abort(self, reason: str) -> None:
        self._world.abort(f"rank {self.rank}: {reason}")


def in_threads(
    ranks: int,
    function: Callable[..., Result],
    *arguments: Any,
    timeout: float | None = 60.0,
) -> list[Result]:
    """Run ``function(comm, *arguments)`` on as many threads, each a rank; returns their results.

    An exception on one rank ends the calls of all, and is raised here.

    Args:
        ranks: how many.
        function: what each runs.
        arguments: passed on.
        timeout: seconds that a rank waits for the others in a call; None: for ever.

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
    world = _World(ranks, timeout)
    results: list[Any] = [None] * ranks
    errors: list[BaseException | None] = [None] * ranks

    def run(rank: int) -> None:
        comm = ThreadRank(world, rank)
        try:
            results[rank] = function(comm, *arguments)
        except BaseException as error:  # raised again below
            errors[rank] = error
            comm.abort(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [error for error in errors if error is not None]
    if found:
        raise next((e for e in found if not isinstance(e, DistributedError)), found[0])
    return results
