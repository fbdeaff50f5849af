# SPDX-License-Identifier: Apache-2.0
"""Processes that save together, of which one is killed.

    python -m support.ranks_crash FOLDER EVERY

It is killed before one of its system calls, each in turn, or one of so many. The program ends with
1 if anything but the old state or the new one was found, or if something is left after the next
save.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import slotwise
from slotwise.distributed import DistributedError
from slotwise.state import _atomic, _checksums
from support.spread import chunk_of, chunks_of, even
from support.state_crash import SECONDS, has_hung, killing

RANKS = 2
ROWS = np.arange(1000, dtype=np.float32).reshape(500, 2)


class Piped:
    """A process that sends bytes to others through pipes: a few at a time, as they must fit."""

    def __init__(self, rank: int, pipes: Sequence[Connection | None]) -> None:
        self.rank, self.size, self._pipes = rank, len(pipes), pipes

    def all_to_all(self, send: np.ndarray, receive: np.ndarray) -> None:
        ones = [1] * self.size
        self.all_to_all_v(send, ones, receive, ones)

    def all_to_all_v(
        self,
        send: np.ndarray,
        send_counts: Sequence[int],
        receive: np.ndarray,
        receive_counts: Sequence[int],
    ) -> None:
        sent = np.split(send, np.cumsum(send_counts))
        received = np.split(receive, np.cumsum(receive_counts))
        try:
            for part, pipe in zip(sent, self._pipes, strict=False):
                if pipe is not None:
                    pipe.send_bytes(part.tobytes())
            for rank, (part, pipe) in enumerate(zip(received, self._pipes, strict=False)):
                data = sent[rank].tobytes() if pipe is None else pipe.recv_bytes()
                part[...] = np.frombuffer(data, part.dtype).reshape(part.shape)
        except (EOFError, OSError) as error:
            raise DistributedError("a rank is gone") from error

    def all_gather(self, send: np.ndarray, receive: np.ndarray) -> None:
        self.all_to_all(np.stack([send] * self.size), receive)

    def barrier(self) -> None:
        self.all_to_all(np.zeros(self.size), np.zeros(self.size))

    def abort(self, reason: str) -> None:
        os._exit(1)


def save(path: Path, factor: int, before: Callable[[int], None] = lambda rank: None) -> list[int]:
    """Save by processes; returns how each ended."""
    a, b = Pipe()
    pipes = [[None, a], [b, None]]
    children = []
    for rank in range(RANKS):
        child = os.fork()
        if child == 0:
            signal.alarm(SECONDS)
            for pipe in pipes[1 - rank]:
                if pipe is not None:
                    pipe.close()  # whose other end then knows that it is gone
            comm = Piped(rank, pipes[rank])
            rows, part = ROWS * np.float32(factor), np.full((9, 30), float(factor))
            state = {"emb": even(comm, rows), "w": np.full(5, factor), "part": chunk_of(comm, part)}
            before(rank)
            try:
                slotwise.save(path, variables=state, extra=factor, verify=True)
            except DistributedError:
                os._exit(2)
            os._exit(0)
        children.append(child)
    a.close()
    b.close()
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(has_hung(status) for status in statuses):
        return save(path, factor, before)
    return [os.waitstatus_to_exitcode(status) for status in statuses]


def found(path: Path) -> int:
    """The state that is there, all of it."""
    state = slotwise.load(path)
    np.testing.assert_array_equal(state.arrays["emb"], ROWS * np.float32(state.extra))
    assert (state.arrays["w"] == state.extra).all() and (state.arrays["part"] == state.extra).all()
    return int(state.extra)


def main(folder: str, every: str) -> None:
    _checksums.chunk_of_units = chunks_of(1024)
    path = Path(folder, "ckpt")
    places = news = 0
    for has_exchange, victim in itertools.product((True, False), range(RANKS)):
        if not has_exchange:
            _atomic.exchange = lambda a, b: False
        for last in itertools.count(1 + places % int(every), int(every)):
            assert save(path, 1) == [0, 0]
            assert os.listdir(folder) == ["ckpt"], os.listdir(folder)

            def before(rank: int, last: int = last, victim: int = victim) -> None:
                if rank == victim:
                    killing(last)

            ends = save(path, 2, before)
            state = found(path)
            assert state == 2 or ends != [0, 0], ends
            if ends[victim] != -signal.SIGKILL:
                assert ends == [0, 0], ends
                break
            assert ends[1 - victim] in (0, 2), ends
            places, news = places + 1, news + (state == 2)
    print(f"{places} kills: {news} times the new state, else the old one")


if __name__ == "__main__":
    main(*sys.argv[1:])
