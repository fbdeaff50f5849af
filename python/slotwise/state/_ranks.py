# SPDX-License-Identifier: Apache-2.0
"""Ranks that keep one state together: what one of them cannot do, none has done."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slotwise.distributed import Communicator, DistributedError
from slotwise.distributed._agreement import gather_bytes
from slotwise.state import _threads

Result = TypeVar("Result")
Bytes = NDArray[np.uint8]
Pieces = Sequence[Sequence[Bytes]]  # for each rank, what it gets
# Yields what to send, or None for nothing, and is given what came.
Exchange = Generator[Pieces | None, list[Bytes], None]

_MESSAGE = 2000  # characters of an error that others are told
_FAILED, _GOES_ON, _IS_DONE = range(3)  # how a rank is


class _Halted(Exception):
    """Another rank has failed, and will say how."""


class Ranks:
    """All ranks make the same calls of this in the same order.

    Attributes:
        rank: of this process.
        size: how many there are.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm, self.rank, self.size = comm, comm.rank, comm.size

    def agree(
        self, work: Callable[[], Result], tell: Callable[[Result], Any] = lambda result: None
    ) -> tuple[Result, list[Any]]:
        """Do something on each rank.

        Returns:
            The result here, and what each rank tells of its own, which JSON can hold.

        Raises:
            DistributedError: it failed on some rank. If it failed alike on all of them: that error.
        """
        if self.size == 1:
            result = work()
            return result, [json.loads(json.dumps(tell(result)))]
        failure: BaseException | None = None
        try:
            result = work()
            told = json.dumps([None, None, tell(result)])
        except DistributedError:
            raise  # all have it
        except _Halted:
            told = json.dumps([None, None, None])
        except BaseException as error:
            failure = error
            kind = type(error).__name__.strip("_")
            told = json.dumps([kind, str(error)[:_MESSAGE], None])
        found = [json.loads(text) for text in self._gather(told.encode())]
        failed = [(rank, kind, text) for rank, (kind, text, _) in enumerate(found) if kind]
        is_alike = len(failed) == self.size and len({(kind, text) for _, kind, text in failed}) == 1
        try:
            if failure is not None and (is_alike or not isinstance(failure, Exception)):
                raise failure
            if failed:
                rank, kind, text = failed[0]
                raise DistributedError(f"rank {rank}: {kind}: {text}") from failure
        finally:
            del failure  # whose traceback knows this frame
        return result, [own for _, _, own in found]

    def do(self, steps: Exchange) -> None:
        """Do work in steps on each rank; all have the error of one that fails."""
        self.agree(lambda: self.exchange(steps))

    def first(self, work: Callable[[], Any]) -> Any:
        """What rank 0 has found, on all of them; JSON can hold it."""
        return self.agree(lambda: work() if self.rank == 0 else None, lambda found: found)[1][0]

    @_threads.undisturbed
    def exchange(self, steps: Exchange) -> None:
        """Send what the steps yield, and give them what came from each rank.

        Ranks that send have as many steps; others may have more or fewer, with which they let the
        others know that they are at work. If one fails, the steps of all end. Call it in `agree`,
        which tells them why.
        """
        received: Any = None
        state, states = _GOES_ON, {_GOES_ON}
        while states != {_IS_DONE}:
            pieces: Pieces | None = None
            try:
                if state != _IS_DONE:
                    pieces = steps.send(received)
            except StopIteration:
                state = _IS_DONE
            except DistributedError:
                raise
            except BaseException:
                self._swap(None, _FAILED)
                raise
            states, received = self._swap(pieces, state)
            if _FAILED in states:
                steps.close()
                raise _Halted

    def _swap(self, pieces: Pieces | None, state: int) -> tuple[set[int], list[Bytes]]:
        """Send pieces of bytes to each rank; how all are, and what came from each."""
        if self.size == 1:  # what it has, it does not send
            return {state}, [np.empty(0, np.uint8)]
        sent = [()] * self.size if pieces is None else pieces
        counts = [sum(piece.size for piece in own) for own in sent]
        send = np.array([[state, count] for count in counts], np.int64)
        receive = np.empty_like(send)
        self._comm.all_to_all(send, receive)
        states, expected = {*receive[:, 0].tolist()}, receive[:, 1].tolist()
        if _FAILED in states:
            return states, []
        joined = [piece for own in sent for piece in own]
        data = np.empty(sum(expected), np.uint8)
        given = joined[0] if len(joined) == 1 else np.concatenate([*joined, np.empty(0, np.uint8)])
        self._comm.all_to_all_v(given, counts, data, expected)
        return states, np.split(data, np.cumsum(expected)[:-1])

    @_threads.undisturbed
    def _gather(self, data: bytes) -> list[bytes]:
        """What each rank has."""
        return gather_bytes(self._comm, data)
