# SPDX-License-Identifier: Apache-2.0
"""Ranks that are processes of torch.distributed, by its backend gloo.

Messages go from rank to rank. A head goes before the data, and takes few of them along: which call
this is, and how many bytes there are. The data have their number for a tag, as gloo ends a process
that gets more than it waits for, and says nothing to one that gets less.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments
from slotwise.distributed._checked import (
    CALLS,
    Bytes,
    Checked,
    late,
    other_call,
    other_size,
    pieces,
    timeout_of,
)
from slotwise.distributed._communicator import Communicator, DistributedError
from slotwise.distributed._cores import warn_if_alone, warn_if_crowded
from slotwise.distributed._local import Alone

_FAILED = len(CALLS)  # in place of a call: a reason follows
_NOTICE = 1.0  # seconds that others have to take note of a failure
_HEAD, _DATA = 0, 1  # tags, the second with the number of bytes
_SHORT = 240  # bytes that go with a head: a message of their own takes some 0.1 ms
_HEAD_BYTES = 16 + _SHORT


class TorchRank(Checked):
    """A process of torch.distributed."""

    _serves_threads = True

    def __init__(self, library: Any, group: Any, timeout: float) -> None:
        super().__init__(group.rank(), group.size())
        self._tensor, self._group, self._timeout = library.from_numpy, group, timeout
        # What gloo may read or write still, after a failure: of a call; of what others are told.
        self._kept: list[Any] = []
        self._told: list[tuple[int, Any]] = []

    def _exchange(self, call: str, send: list[Bytes], receive: list[Bytes]) -> None:
        end = time.monotonic() + self._timeout
        heads: dict[int, Bytes] = {}
        firsts: dict[int, Any] = {}
        works: list[tuple[int, Any]] = []
        self._kept = [heads, firsts, works, send, receive]
        for other in self._others:
            heads[other] = np.empty(_HEAD_BYTES, np.uint8)
            firsts[other] = self._start(self._group.recv, heads[other], other, _HEAD)
            for piece in _body(receive[other]):
                works.append((other, self._start(self._group.recv, piece, other, _DATA)))
        for other in self._others:
            works += self._send(other, CALLS.index(call), send[other])
        for other, first in firsts.items():
            self._wait(call, first, other, end)
            self._check(call, heads[other], other, receive[other], end)
        for other, work in works:
            self._wait(call, work, other, end)
        self._kept = []

    def _send(self, other: int, kind: int, data: Bytes) -> Iterator[tuple[int, Any]]:
        """Send a head and what it says is to come."""
        head = np.zeros(_HEAD_BYTES, np.uint8)
        head[:16].view(np.int64)[...] = kind, len(data)
        if len(data) <= _SHORT:
            head[16 : 16 + len(data)] = data
        yield other, self._start(self._group.send, head, other, _HEAD)
        for piece in _body(data):
            yield other, self._start(self._group.send, piece, other, _DATA)

    def _start(self, act: Any, data: NDArray[Any], other: int, tag: int) -> Any:
        """Send or receive; data of another size have another tag."""
        if not data.flags.writeable:  # PyTorch has no such tensors
            data = data.copy()
        try:
            return act([self._tensor(data)], other, tag + len(data) * (tag == _DATA))
        except RuntimeError as error:
            raise self._lost(other) from error

    def _wait(self, call: str, work: Any, other: int, end: float) -> None:
        left = math.ceil((end - time.monotonic()) * 1000)  # gloo counts in them; 0 is for ever
        try:
            work.wait(timedelta(milliseconds=max(left, 1)))
        except RuntimeError as error:
            is_late = time.monotonic() >= end
            what = late(self._timeout, [other], call, self.rank) if is_late else self._lost(other)
            raise what from error

    def _lost(self, other: int) -> DistributedError:
        return DistributedError(f"rank {self.rank}: rank {other} has failed, has ended or is late")

    def _check(self, call: str, head: Bytes, other: int, place: Bytes, end: float) -> None:
        """Whether what comes is what a call expects; what has come with the head is put there."""
        kind, size = head[:16].view(np.int64).tolist()
        if kind == _FAILED:
            place = np.empty(size, np.uint8)
            for piece in _body(place):
                self._wait(call, self._start(self._group.recv, piece, other, _DATA), other, end)
        elif CALLS[kind] != call:
            raise other_call(self.rank, call, other, CALLS[kind])
        elif size != len(place):
            raise other_size(self.rank, call, other)
        if size <= _SHORT:
            place[...] = head[16 : 16 + size]
        if kind == _FAILED:
            raise DistributedError(place.tobytes().decode())

    def _tell(self, reason: str) -> None:
        text = np.frombuffer(reason.encode(errors="replace"), np.uint8)
        end = time.monotonic() + _NOTICE
        for other in self._others:
            with contextlib.suppress(DistributedError):  # it has gone before
                self._told += self._send(other, _FAILED, text)
        for other, work in self._told:  # in vain, this ends the connection, which others notice
            with contextlib.suppress(DistributedError):
                self._wait("abort", work, other, end)


def _body(data: Bytes) -> list[Bytes]:
    """What follows a head."""
    return pieces(data) if len(data) > _SHORT else []


def torch(group: Any = None, timeout: float = 600.0) -> Communicator:
    """The processes of a group of torch.distributed as ranks; all of them call this.

    ``torchrun --nproc-per-node 4 train.py`` starts four. Where a program has made no group by
    then, it is made here, of all that torchrun started; if that was not what started the program,
    it is a rank by itself, as `local` is.

    Args:
        group: of processes, whatever its backend; one of the same with gloo is made for the ranks.
            None: all of them.
        timeout: seconds that a call may take; 600 by default.

    Raises:
        ImportError: no PyTorch, or one without torch.distributed.
        TypeError: not a group that this process is in, or not a number of seconds.
        ValueError: no time.
        DistributedError: not all processes call this in time.

    Example:
        >>> from slotwise import distributed
        >>> comm = distributed.torch()  # doctest: +SKIP
        >>> comm.rank, comm.size  # doctest: +SKIP
        (0, 1)
    """
    seconds = timeout_of("torch", timeout)
    try:
        import torch as library
        from torch.distributed import ProcessGroup, distributed_c10d
    except ImportError as error:
        what = "torch: expected PyTorch with torch.distributed; pip install 'slotwise[torch]'"
        raise ImportError(f"{what} ({error})") from error
    if group is not None and not isinstance(group, ProcessGroup):
        what = "a group of torch.distributed that this process is in, or None"
        raise _arguments.refused("torch", "group", what, group)
    limit = timedelta(seconds=seconds)
    try:
        if not distributed_c10d.is_initialized():
            if not distributed_c10d.is_torchelastic_launched() and "RANK" not in os.environ:
                warn_if_alone("torch", "torchrun")
                return Alone(0, 1)
            distributed_c10d.init_process_group("gloo", timeout=limit)
        own = _copy_of(distributed_c10d, group, limit)
    except RuntimeError as error:
        raise DistributedError(f"torch: {error}") from error
    found = TorchRank(library, own, seconds)
    warn_if_crowded(found)
    return found


def _copy_of(library: Any, group: Any, limit: timedelta) -> Any:
    if group is None:
        return library.new_group(timeout=limit, backend="gloo")
    return library.new_group(
        library.get_process_group_ranks(group),
        timeout=limit,
        backend="gloo",
        use_local_synchronization=True,  # processes outside of the group do not call this
    )
