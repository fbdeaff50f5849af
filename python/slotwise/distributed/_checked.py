# SPDX-License-Identifier: Apache-2.0
"""What all communicators of ours have: they check arguments, and engines move bytes."""

from __future__ import annotations

import atexit
import math
import operator
import os
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments
from slotwise.distributed._communicator import DistributedError

Bytes: TypeAlias = NDArray[np.uint8]

CALLS = ("all_to_all", "all_to_all_v", "all_gather", "barrier")
PIECE = 1 << 28  # bytes of a message, at most: MPI may count in 32 bits, gloo fails near 0.9 GB


class _Ahead(threading.Thread):
    """Work of a rank that goes on beside the thread that asked for it, after what was begun before.

    It is no daemon: a process that ends waits for it, as for a call that it makes itself.
    """

    def __init__(self, rank: Checked, before: _Ahead | None, work: Callable[[], object]) -> None:
        super().__init__(target=work, daemon=False)
        self.rank, self._before = rank, before
        self.has_ended = threading.Event()  # (Ctrl-C in `join` may pass for the end)
        self._error: BaseException | None = None

    def run(self) -> None:
        if self._before is not None:
            self._before.has_ended.wait()
            self._before = None
        try:
            super().run()
        except BaseException as error:  # which the next call raises
            self._error = error
            atexit.register(self._warn)
        finally:
            self.has_ended.set()

    def raise_error(self) -> None:
        if self._error is not None:
            atexit.unregister(self._warn)
            raise self._error

    def _warn(self) -> None:
        """Say, at exit, what no call came to raise."""
        warnings.warn(f"{self._error}", RuntimeWarning, stacklevel=1)


class Checked(ABC):
    """A rank whose calls are checked here.

    After a failure all its calls raise, and say what the failure was: messages of the call that
    failed may be on their way still.
    """

    # Whether a thread of its own may make calls. (Ranks that are threads make them themselves: what
    # a simulated one computes is measured as the time of its thread.)
    _serves_threads = False

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._others = [(rank + step) % size for step in range(1, size)]
        self._failure: str | None = None  # and the rank where it was
        self._lock = threading.Lock()
        self._begun: list[_Ahead] = []  # in this order
        self._process = os.getpid()

    def all_to_all(self, send: NDArray[Any], receive: NDArray[Any]) -> None:
        call = "all_to_all"
        sent, received = _bytes_of(call, send, receive)
        for name, array in (("send", send), ("receive", receive)):
            if array.shape[:1] != (self.size,):
                raise _refused(call, name, f"{self.size} rows, one for each rank", array)
        if receive.shape != send.shape:
            raise _refused(call, "receive", f"the shape of send, {send.shape}", receive)
        sizes = [len(sent) // self.size] * self.size
        self._run(call, _cut(sent, sizes), _cut(received, sizes))

    def all_to_all_v(
        self,
        send: NDArray[Any],
        send_counts: Sequence[int],
        receive: NDArray[Any],
        receive_counts: Sequence[int],
    ) -> None:
        call = "all_to_all_v"
        sent, received = _bytes_of(call, send, receive)
        for name, array in (("send", send), ("receive", receive)):
            if not array.ndim:
                raise _refused(call, name, "rows", array)
        if receive.shape[1:] != send.shape[1:]:
            raise _refused(call, "receive", f"rows of the shape {send.shape[1:]}", receive)
        row = send.itemsize * math.prod(send.shape[1:])
        sending = self._counts_of(call, "send", send_counts, len(send))
        receiving = self._counts_of(call, "receive", receive_counts, len(receive))
        own = sending[self.rank]
        if receiving[self.rank] != own:
            what = f"{call}: receive_counts: expected {own} of this rank itself, as it sends"
            raise ValueError(f"{what}, got {receiving[self.rank]}")
        parts = _cut(sent, [row * count for count in sending])
        self._run(call, parts, _cut(received, [row * count for count in receiving]))

    def _counts_of(self, call: str, name: str, given: Sequence[int], rows: int) -> list[int]:
        counts = _arguments.converted(
            call, f"{name}_counts", "integers", given, lambda given: [*map(operator.index, given)]
        )
        if len(counts) != self.size or min(counts) < 0:
            what = f"{call}: {name}_counts: expected a count >= 0 for each of {self.size} ranks"
            raise ValueError(f"{what}, got {_arguments.shown(counts)}")
        if sum(counts) != rows:
            what = f"{call}: {name}_counts: expected a sum of {rows}, the rows of {name}"
            raise ValueError(f"{what}, got {sum(counts)}")
        return counts

    def all_gather(self, send: NDArray[Any], receive: NDArray[Any]) -> None:
        call = "all_gather"
        sent, received = _bytes_of(call, send, receive)
        if receive.shape != (self.size, *send.shape):
            raise _refused(call, "receive", f"the shape {(self.size, *send.shape)}", receive)
        self._run(call, [sent] * self.size, _cut(received, [len(sent)] * self.size))

    def barrier(self) -> None:
        nothing = [np.empty(0, np.uint8)] * self.size
        self._run("barrier", nothing, nothing)

    def __deepcopy__(self, memo: object) -> Checked:
        """Itself: what is spread over ranks may be copied, the ranks may not."""
        return self

    @property
    def has_failed(self) -> bool:
        """Whether calls can succeed no more."""
        return self._failure is not None

    def abort(self, reason: str) -> None:
        self._fail(f"rank {self.rank}: {reason}")

    def ahead(self, work: Callable[[], object]) -> None:
        """Do work that makes calls, before all calls that are made hereafter.

        Where the engine serves threads, one of its own does it and this returns at once; the next
        call waits for its end and raises its error. So ranks make the same calls in the same order.
        """
        if not (self._serves_threads and self._others):
            work()
            return
        self._require_own_process("ahead")
        thread = _Ahead(self, self._begun[-1] if self._begun else None, work)
        thread.start()
        self._begun.append(thread)

    def settle(self, call: str) -> None:
        """Wait, before a call, for what is done ahead; raises its errors, each once."""
        self._require_own_process(call)
        thread = threading.current_thread()
        if isinstance(thread, _Ahead) and thread.rank is self:
            return
        while self._begun:
            self._begun[0].has_ended.wait()
            self._begun.pop(0).raise_error()

    def _require_own_process(self, call: str) -> None:
        if os.getpid() != self._process:
            what = f"{call}: expected the process that made the communicator"
            raise RuntimeError(f"{what}, got a child of fork")

    def _run(self, call: str, send: list[Bytes], receive: list[Bytes]) -> None:
        self.settle(call)
        with self._lock:
            if self._failure is not None:
                raise DistributedError(f"{call}: {self._failure}")
            try:
                if self._others:
                    self._exchange(call, send, receive)
            except DistributedError as error:
                self._fail(str(error))
                raise DistributedError(f"{call}: {error}") from error.__cause__
            except BaseException as error:  # Ctrl-C, say
                self._fail(f"rank {self.rank}: {type(error).__name__}: {error}")
                raise
            receive[self.rank][...] = send[self.rank]

    def _fail(self, reason: str) -> None:
        """Note why no call can succeed any more, and let the other ranks know."""
        if self._failure is None:
            self._failure = reason
            self._tell(reason)

    @abstractmethod
    def _exchange(self, call: str, send: list[Bytes], receive: list[Bytes]) -> None:
        """Move what is sent to the other ranks, and what they send here.

        Raises:
            DistributedError: that cannot be, and why, naming the rank.
        """

    @abstractmethod
    def _tell(self, reason: str) -> None:
        """Make calls of all other ranks, now and later, fail for a reason."""


def _bytes_of(call: str, send: NDArray[Any], receive: NDArray[Any]) -> tuple[Bytes, Bytes]:
    for name, array in (("send", send), ("receive", receive)):
        if not isinstance(array, np.ndarray):
            raise _arguments.refused(call, name, "an array", array)
        if not array.flags.c_contiguous:
            what = f"{call}: {name}: expected a C-contiguous array"
            raise ValueError(f"{what}, got one of strides {array.strides}")
        if array.dtype.hasobject:
            raise TypeError(f"{call}: {name}: expected a dtype without objects, got {array.dtype}")
    if receive.dtype != send.dtype:
        raise TypeError(f"{call}: receive: expected dtype {send.dtype}, got {receive.dtype}")
    if not receive.flags.writeable:
        raise ValueError(f"{call}: receive: expected an array that may be written")
    if np.may_share_memory(send, receive):  # exact, as both are contiguous
        raise ValueError(f"{call}: receive: expected memory of its own, got some of send's")
    return _flat(send), _flat(receive)


def _flat(array: NDArray[Any]) -> Bytes:
    return np.asarray(array).reshape(-1).view(np.uint8)


def _refused(call: str, name: str, expected: str, array: NDArray[Any]) -> ValueError:
    return ValueError(f"{call}: {name}: expected {expected}, got an array of shape {array.shape}")


def _cut(data: Bytes, sizes: list[int]) -> list[Bytes]:
    found, end = [], 0
    for size in sizes:
        found.append(data[end : end + size])
        end += size
    return found


def pieces(data: Bytes) -> list[Bytes]:
    """What data are sent in: one message at least, of nothing if there are none."""
    if len(data) <= PIECE:
        return [data]
    return [data[begin : begin + PIECE] for begin in range(0, len(data), PIECE)]


def timeout_of(op: str, value: Any) -> float:
    """Seconds that a call may take."""
    seconds = _arguments.converted(
        op,
        "timeout",
        "a number of seconds",
        value,
        lambda number: math.ldexp(number, 0),  # unlike float, it takes no text
    )
    if not 0 < seconds < math.inf:
        raise ValueError(f"{op}: timeout: expected a finite number above 0, got {seconds}")
    return seconds


def late(timeout: float, ranks: Iterable[int], call: str, here: int) -> DistributedError:
    """What a rank raises that has waited too long for others."""
    names = [str(rank) for rank in sorted(ranks)]
    who = f"rank{'s' * (len(names) > 1)} {', '.join(names)}"
    return DistributedError(f"rank {here}: waited {timeout:g} s for {who} in {call}")


def other_call(here: int, call: str, other: int, got: str) -> DistributedError:
    """What a rank raises if another is in another call."""
    return DistributedError(f"rank {here}: expected {call} on rank {other} too, got {got}")


def other_size(here: int, call: str, other: int) -> DistributedError:
    """What a rank raises if another sends more or less than is received here."""
    what = f"rank {here}: expected rank {other} to send in {call} what is received here"
    return DistributedError(f"{what}, got another number of bytes")


def ended(rank: int) -> str:
    """What ranks are told that make a call after another has made its last."""
    return f"rank {rank} has ended"
