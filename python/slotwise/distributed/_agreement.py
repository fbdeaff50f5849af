# SPDX-License-Identifier: Apache-2.0
"""What ranks tell each other before they do anything together: whether all can, and the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from slotwise.distributed._communicator import Communicator, DistributedError

_HEAD, _COUNTS = 3, 5  # numbers of a message: status, call, step; counts that come along


@lru_cache(maxsize=256)
def _number_of(call: str) -> int:
    digest = hashlib.blake2b(call.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def agree(
    comm: Communicator,
    call: str,
    step: int = 0,
    error: Exception | None = None,
    counts: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Go on if all ranks make the same call, and none has an error; else raise on all of them.

    Args:
        comm: the ranks.
        call: what this one is about to do, and with what: the same text on all.
        step: which of the calls of this kind it is.
        error: why this rank cannot.
        counts: for each rank (rows), numbers that it is told: of as many kinds on all.

    Returns:
        The numbers that the ranks have for this one.

    Raises:
        DistributedError: the first rank with an error, by its number, and the error; or what the
            ranks call, if that is not the same.
    """
    told = np.zeros((comm.size, 0), np.int64) if counts is None else counts
    inline = told[:, :_COUNTS]
    send = np.zeros((comm.size, _HEAD + _COUNTS), np.int64)
    send[:, 0] = error is not None
    send[:, 1], send[:, 2] = _number_of(call), step
    send[:, _HEAD : _HEAD + inline.shape[1]] = inline
    received = np.empty_like(send)
    comm.all_to_all(send, received)
    if received[:, 0].any():
        texts = _texts(comm, "" if error is None else f"{error}")
        rank = int(np.flatnonzero(received[:, 0])[0])
        raise DistributedError(f"rank {rank}: {texts[rank]}") from error
    if (received[:, 1:_HEAD] != received[0, 1:_HEAD]).any():
        texts = _texts(comm, f"{call}, step {step}")
        other = int(np.flatnonzero((received[:, 1:_HEAD] != received[0, 1:_HEAD]).any(1))[0])
        raise DistributedError(
            f"expected the same call on all ranks, got on rank 0: {texts[0]}; "
            f"on rank {other}: {texts[other]}"
        )
    if told.shape[1] <= _COUNTS:
        return received[:, _HEAD : _HEAD + told.shape[1]]
    found = np.empty_like(told)
    comm.all_to_all(np.ascontiguousarray(told), found)
    return found


def _texts(comm: Communicator, own: str) -> Sequence[str]:
    """A text of each rank."""
    return [each.decode() for each in gather_bytes(comm, own.encode())]


def gather_bytes(comm: Communicator, own: bytes) -> list[bytes]:
    """What each rank has, of any length."""
    sizes = np.empty((comm.size, 1), np.int64)
    comm.all_gather(np.array([len(own)]), sizes)
    send = np.zeros(sizes.max(), np.uint8)
    send[: len(own)] = np.frombuffer(own, np.uint8)
    found = np.empty((comm.size, send.size), np.uint8)
    comm.all_gather(send, found)
    return [row[:size].tobytes() for row, size in zip(found, sizes[:, 0], strict=True)]
