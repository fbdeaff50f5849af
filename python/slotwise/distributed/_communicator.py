# SPDX-License-Identifier: Apache-2.0
"""What ranks are to each other: five calls that move bytes, and nothing that adds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray


class DistributedError(RuntimeError):
    """A call that all ranks make together failed; every rank raises it."""


@runtime_checkable
class Communicator(Protocol):
    """A group of ranks. All make the same calls in the same order.

    Arrays are C-contiguous and of one dtype on all ranks. A call returns when this rank's part of
    ``receive`` is there and its ``send`` may be changed. What an implementation cannot finish
    (a rank is gone, or late beyond the deadline) raises `DistributedError` on the others.

    Attributes:
        rank: of this process, from 0.
        size: the number of ranks.
    """

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def all_to_all(self, send: NDArray[Any], receive: NDArray[Any]) -> None:
        """Row r of ``send`` goes to rank r, and row r of ``receive`` comes from it.

        Both have a row for each rank: shape ``(size, ...)``.
        """
        ...

    def all_to_all_v(
        self,
        send: NDArray[Any],
        send_counts: Sequence[int],
        receive: NDArray[Any],
        receive_counts: Sequence[int],
    ) -> None:
        """The same with another number of rows for each rank, one after the other."""
        ...

    def all_gather(self, send: NDArray[Any], receive: NDArray[Any]) -> None:
        """Row r of ``receive``, of shape ``(size, *send.shape)``, is what rank r sends."""
        ...

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        ...

    def abort(self, reason: str) -> None:
        """End the work of all ranks: their calls, now and later, raise or end the process."""
        ...
