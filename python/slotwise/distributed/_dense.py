# SPDX-License-Identifier: Apache-2.0
"""Variables that all ranks have: gradients are summed, and each rank updates a share of elements.

The bytes of an all-reduce, in two halves with the update between them: so a rank keeps the slots of
its share only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise import _tracking
from slotwise._tables import coalesce
from slotwise._variable import Variable, described
from slotwise.distributed import _parts, _placement
from slotwise.distributed._communicator import Communicator
from slotwise.distributed._placement import Run

_WIDTH = 1024  # elements that are summed as a row


class Shares(NamedTuple):
    """Gradients of the parts of a batch that this rank has, one after the other.

    Sums over all parts of all ranks are rounded once, so they do not depend on which rank has
    which.

    Attributes:
        values: shape ``(parts, *variable.shape)``.
    """

    values: Any


class Chunk:
    """The share that this rank has of a variable.

    Attributes:
        whole: the variable.
        local: a variable over its share of the elements, in a row; of a vector, in a column.
    """

    def __init__(self, comm: Communicator, whole: Variable) -> None:
        if not whole.value.flags.c_contiguous:
            raise ValueError(
                f"{described(whole)}: expected C order, in which ranks share it, got other strides"
            )
        self.whole = whole
        self._comm = comm

    @cached_property
    def local(self) -> Variable:
        whole, run = self.whole, self.of(self._comm.rank)
        share = whole.value.reshape(-1)[run.begin : run.begin + run.count]
        if whole.value.ndim == 1:  # arrays are known by memory: a share of all is not the whole
            share = share[:, np.newaxis]
        _parts.declare(share, _parts.Parted(self._comm, whole.shape, None, (run,)))
        return Variable(share, trainable=whole.trainable, name=whole.name)

    @property
    def size(self) -> int:
        """The elements of this rank's share."""
        return self.of(self._comm.rank).count

    def of(self, rank: int) -> Run:
        return _placement.chunk(self.whole.size, rank, self._comm.size)

    @property
    def most(self) -> int:
        """The bytes of the largest share."""
        return -(-self.whole.size // self._comm.size) * self.whole.dtype.itemsize


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def summed(
    comm: Communicator,
    chunks: Sequence[Chunk],
    gradients: Sequence[NDArray[Any]],
    shares: Sequence[int],
) -> list[NDArray[Any]]:
    """The sums of this rank's shares of gradients.

    Args:
        comm: the ranks.
        chunks: of the variables.
        gradients: of each, shape ``(parts, *variable.shape)``; as many parts of each.
        shares: how many parts each rank has.
    """
    flat = [grad.reshape(len(grad), -1) for grad in gradients]
    pieces, counts = [], []
    for rank in range(comm.size):
        runs = [each.of(rank) for each in chunks]
        own = [
            _bytes(grad[:, run.begin : run.begin + run.count])
            for grad, run in zip(flat, runs, strict=True)
        ]
        pieces += own
        counts.append(sum(map(len, own)))
    each = sum(chunk.size * chunk.whole.dtype.itemsize for chunk in chunks)
    received = np.empty(each * sum(shares), np.uint8)
    expected = [each * count for count in shares]
    comm.all_to_all_v(np.concatenate(pieces), counts, received, expected)
    parts: list[list[NDArray[Any]]] = [[] for _ in chunks]
    at = 0
    for count in shares:
        for chunk, found in zip(chunks, parts, strict=True):
            size = chunk.size * chunk.whole.dtype.itemsize * count
            piece = received[at : at + size].copy().view(chunk.whole.dtype)  # (aligned)
            found.append(piece.reshape(count, chunk.size))
            at += size
    return [sum_of(np.concatenate(found)) for found in parts]


def sum_of(parts: NDArray[Any]) -> NDArray[Any]:
    """The sum of rows, rounded once."""
    count, size = parts.shape
    if count == 1 or size == 0:
        only: NDArray[Any] = parts[0]
        return only
    blocks = -(-size // _WIDTH)
    padded = np.zeros((count, blocks * _WIDTH), parts.dtype)
    padded[:, :size] = parts
    ids = np.tile(np.arange(blocks), count)
    _, total = coalesce(ids, padded.reshape(-1, _WIDTH), blocks, exact=True)
    found: NDArray[Any] = total.reshape(-1)[:size]
    return found


def gathered(
    comm: Communicator, chunks: Sequence[Chunk], shares: Sequence[NDArray[Any]]
) -> list[NDArray[Any]]:
    """Wholes of which each rank has its shares."""
    send = np.zeros(sum(chunk.most for chunk in chunks), np.uint8)
    at = 0
    for chunk, share in zip(chunks, shares, strict=True):
        send[at : at + share.nbytes] = _bytes(share)
        at += chunk.most
    received = np.empty((comm.size, len(send)), np.uint8)
    comm.all_gather(send, received)
    wholes, at = [], 0
    for chunk, share in zip(chunks, shares, strict=True):
        whole = np.empty(chunk.whole.size, share.dtype)
        for rank in range(comm.size):
            run = chunk.of(rank)
            part = received[rank, at : at + run.count * share.itemsize]
            whole[run.begin : run.begin + run.count] = part.copy().view(share.dtype)
        wholes.append(whole.reshape(chunk.whole.shape))
        at += chunk.most
    return wholes


def refresh(comm: Communicator, chunks: Sequence[Chunk]) -> None:
    """Give variables the shares that other ranks have updated."""
    if comm.size == 1 or not chunks:
        return
    found = gathered(comm, chunks, [chunk.local.value for chunk in chunks])
    for chunk, whole in zip(chunks, found, strict=True):
        with _tracking.changing(chunk.whole.value):  # of which this rank may have no share
            chunk.whole.value[...] = whole
