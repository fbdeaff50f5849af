# SPDX-License-Identifier: Apache-2.0
"""Ranks that are processes of MPI, by mpi4py.

Messages go from rank to rank by calls that do not block, so that those who wait look at the clock.
A message says by its tag which call it is of, and MPI says how long it is: loops that came apart
raise. What a rank tells the others last of all, that it failed or has ended, is a message too,
which they receive where they wait for data.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import functools
import math
import os
import sys
import time
from typing import Any, TypeAlias

import numpy as np

from slotwise import _arguments
from slotwise.distributed._checked import (
    CALLS,
    Bytes,
    Checked,
    ended,
    late,
    other_call,
    other_size,
    pieces,
    timeout_of,
)
from slotwise.distributed._communicator import DistributedError
from slotwise.distributed._cores import warn_if_alone, warn_if_crowded

# A tag is the place of a call in CALLS, or one of these.
_ENDED, _FAILED, _REASON = 8, 9, 10  # the last messages of a rank: the reason follows a failure
_MORE = 16  # is added to a tag where the data go on in another message

_LONGEST = 4096  # bytes of a reason
_NOTHING = np.empty(0, np.uint8)
_ALONE = 5e-5  # seconds that a call keeps its core while it waits
_SPIN = 1e-3  # seconds that it looks again at once, letting others have the core in between
_SPIN_BYTE = 2e-9  # seconds that a byte adds: it takes less in memory
_TO_PASS_ON = 0.2  # seconds: a launcher drops what it has not passed on when its job is aborted
_PAUSES = (5e-5, 1e-3)  # seconds that it sleeps thereafter: a fiftieth of what it has waited

_Message: TypeAlias = tuple[int, int, int]  # the rank that it comes from, its tag, its bytes

_open: list[MpiRank] = []  # all of this process, for ever: MPI may use their memory


class _Patience:
    """Waiting, ever more calmly: a call that is soon done is not slowed down by sleep."""

    def __init__(self, timeout: float, spin: float) -> None:
        self._timeout, self._spin = timeout, spin
        self._begin, self.is_calm = time.monotonic(), False

    def wait(self) -> bool:
        """Let a moment pass; False if all time has passed."""
        waited = time.monotonic() - self._begin
        self.is_calm = waited >= self._spin
        if self.is_calm:
            shortest, longest = _PAUSES
            time.sleep(min(max(waited / 50, shortest), longest))
        elif waited >= _ALONE:
            os.sched_yield()
        return waited < self._timeout


class MpiRank(Checked):
    """A process of MPI."""

    def __init__(self, library: Any, set_abort_status: Any, comm: Any, timeout: float) -> None:
        super().__init__(comm.rank, comm.size)
        self._mpi, self._set_abort_status = library, set_abort_status
        self._comm, self._timeout = comm, timeout
        # (A program may make calls of its own meanwhile, so that no lower level will do.)
        self._serves_threads = library.Query_thread() == library.THREAD_MULTIPLE
        # What MPI may read or write still, after a failure: of a call; of what others are told.
        self._kept: list[Any] = []
        self._told: list[Any] = []

    def _exchange(self, call: str, send: list[Bytes], receive: list[Bytes]) -> None:
        comm, tag = self._comm, CALLS.index(call)
        requests: list[Any] = []
        expected: list[_Message] = []  # of the first requests: the others send
        targets: list[int] = []
        self._kept = [requests, send, receive]
        try:
            for other in reversed(self._others):
                for piece, which in _tagged(receive[other], tag):
                    requests.append(comm.Irecv(piece, other))
                    expected.append((other, which, len(piece)))
            for other in self._others:
                for piece, which in _tagged(send[other], tag):
                    requests.append(comm.Isend(piece, other, which))
                    targets.append(other)
            patience = _Patience(self._timeout, _SPIN + _SPIN_BYTE * sum(map(len, receive)))
            self._finish(call, requests, expected, targets, patience)
        except BaseException:
            for request in requests[: len(expected)]:
                if request:
                    request.Cancel()
            raise
        self._kept = []

    def _finish(
        self,
        call: str,
        requests: list[Any],
        expected: list[_Message],
        targets: list[int],
        patience: _Patience,
    ) -> None:
        """Wait until what is expected has come, and what was sent has gone."""
        library, missing = self._mpi, len(requests)
        statuses = [library.Status() for _ in requests]
        while True:
            try:
                done = library.Request.Testsome(requests, statuses)
            except library.Exception as error:
                for status in statuses:
                    if status.error:  # a message that is longer than expected
                        self._check(call, (status.source, 0, -1), status)
                raise DistributedError(f"rank {self.rank}: {error}") from error
            missing -= len(done)
            for place, status in zip(done, statuses, strict=False):
                if place < len(expected):
                    self._check(call, expected[place], status)
            if not missing:
                return
            if patience.is_calm:  # a rank that has failed may never take what is sent to it
                for other, request in zip(targets, requests[len(expected) :], strict=True):
                    if request and self._comm.Iprobe(other, _FAILED):
                        raise DistributedError(self._reason_of(other))
            if not patience.wait():
                ranks = [*(rank for rank, _, _ in expected), *targets]
                waiting = {rank for rank, request in zip(ranks, requests, strict=True) if request}
                raise late(self._timeout, waiting, call, self.rank)

    def _check(self, call: str, message: _Message, status: Any) -> None:
        """Whether what has come is what a call expects."""
        (other, expected, size), tag = message, status.tag
        if tag == expected and status.count == size:
            return
        if tag == _ENDED:
            raise DistributedError(ended(other))
        if tag == _FAILED:
            raise DistributedError(self._reason_of(other))
        if (name := CALLS[tag % _MORE]) != call:
            raise other_call(self.rank, call, other, name)
        raise other_size(self.rank, call, other)

    def _reason_of(self, other: int) -> str:
        text, status = np.empty(_LONGEST, np.uint8), self._mpi.Status()
        request, patience = self._comm.Irecv(text, other, _REASON), _Patience(self._timeout, _SPIN)
        self._kept.append(text)
        while not request.Test(status):
            if not patience.wait():
                return f"rank {other} failed"
        return text[: status.count].tobytes().decode(errors="replace")

    def _tell(self, reason: str) -> None:
        self._set_abort_status(1)  # at exit, as MPI cannot be left in order
        text = np.frombuffer(reason.encode(errors="replace")[:_LONGEST], np.uint8)
        for other in self._others:
            first = self._comm.Isend(_NOTHING, other, _FAILED)
            self._told += [first, self._comm.Isend(text, other, _REASON), text]

    def say_farewell(self) -> None:
        """Make calls that other ranks make from now on fail."""
        for other in self._others:
            self._comm.Isend(_NOTHING, other, _ENDED).Free()

    def await_farewells(self) -> None:
        """Wait for the end of the other ranks, as MPI would, but without keeping a core busy."""
        library, patience = self._mpi, _Patience(math.inf, 0)
        requests = [self._comm.Irecv(_NOTHING, other) for other in self._others]
        with contextlib.suppress(library.Exception):  # a rank makes a call: it will hear of us
            while not library.Request.Testall(requests):
                patience.wait()


def _tagged(data: Bytes, tag: int) -> list[tuple[Bytes, int]]:
    """The messages that data are sent in, and the tag of each."""
    found = [(piece, tag + _MORE) for piece in pieces(data)]
    found[-1] = found[-1][0], tag
    return found


def mpi(comm: Any = None, timeout: float = 600.0) -> MpiRank:
    """The processes of an MPI communicator as ranks; all of them call this.

    ``mpiexec -n 4 python train.py`` starts four. From this call on, an exception that nothing
    catches ends them all. Where one ends earlier than the others, their next calls raise; where
    one ends before MPI has started, the others end when the time is over.

    Args:
        comm: of mpi4py; its copy is used. None: all processes, ``MPI.COMM_WORLD``.
        timeout: seconds that a call may take; 600 by default.

    Raises:
        ImportError: no mpi4py, or no MPI.
        TypeError: not a communicator of mpi4py with one group, or not a number of seconds.
        ValueError: no time.
        DistributedError: not all processes call this in time.

    Example:
        >>> from slotwise import distributed
        >>> comm = distributed.mpi()  # doctest: +SKIP
        >>> comm.rank, comm.size  # doctest: +SKIP
        (0, 1)
    """
    timeout = timeout_of("mpi", timeout)
    if starts := "mpi4py.MPI" not in sys.modules:  # MPI, which waits for all processes, for ever
        faulthandler.dump_traceback_later(timeout, exit=True, file=sys.__stderr__ or 2)
    try:
        from mpi4py import MPI, run
    except (ImportError, RuntimeError) as error:  # the latter where there is no MPI itself
        what = "mpi: expected mpi4py and an MPI; pip install 'slotwise[mpi]'"
        raise ImportError(f"{what} ({error})") from error
    finally:
        if starts:
            faulthandler.cancel_dump_traceback_later()
    comm = MPI.COMM_WORLD if comm is None else comm
    if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
        raise _arguments.refused("mpi", "comm", "an intracommunicator of mpi4py or None", comm)
    if MPI.COMM_WORLD.size == 1:
        warn_if_alone("mpi", "the MPI of mpi4py")
    _watch_the_end(MPI)
    own, request = comm.Idup()
    patience = _Patience(timeout, _SPIN)
    while not request.Test():
        if not patience.wait():
            run.set_abort_status(1)
            raise late(timeout, [r for r in range(comm.size) if r != comm.rank], "mpi", comm.rank)
    own.Set_errhandler(MPI.ERRORS_RETURN)
    found = MpiRank(MPI, run.set_abort_status, own, timeout)
    _open.append(found)
    warn_if_crowded(found)
    return found


@functools.cache
def _watch_the_end(library: Any) -> None:
    """See to it that no rank waits for one that has ended."""
    process = os.getpid()  # not a child made by fork

    def is_over() -> bool:
        return os.getpid() != process or library.Is_finalized()

    def part() -> None:
        ranks = [] if is_over() else [rank for rank in _open if not rank.has_failed]
        for rank in ranks:
            rank.say_farewell()
        for rank in ranks:
            rank.await_farewells()

    atexit.register(part)
    if library.COMM_WORLD.size == 1 or hasattr(sys, "ps1") or sys.flags.interactive:
        return
    show = sys.excepthook

    def end_all(*error: Any) -> None:
        try:
            show(*error)
            sys.stdout.flush()
            sys.stderr.flush()
            time.sleep(_TO_PASS_ON)
        finally:
            if not is_over():
                library.COMM_WORLD.Abort(1)
                os._exit(1)  # the call may return before the launcher has ended this process

    sys.excepthook = end_all
