# SPDX-License-Identifier: Apache-2.0
"""The ids of a batch, merged and on their way to the ranks that have their rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from slotwise import _core
from slotwise._pooling import unexpanded
from slotwise._tables import IndexedSlices, RowPlan
from slotwise.distributed._communicator import Communicator
from slotwise.distributed._placement import Placement

Merge: TypeAlias = Literal["exact", "order", "fast"]
MERGES = ("exact", "order", "fast")
Wire: TypeAlias = Literal["bfloat16"]


@dataclass(frozen=True)
class ExactSlices(IndexedSlices):
    """Gradients of rows; those of one row are summed as if nothing were rounded before the end."""

    _is_exact: ClassVar[bool] = True  # which the extension asks for


@dataclass(frozen=True)
class HereRoute:
    """The way to rows that are all here.

    Attributes:
        placement: of the table.
        places: the row of each id, among those of this rank.
    """

    placement: Placement
    places: NDArray[np.int64]


class Route:
    """Where the distinct ids of one batch go.

    Args:
        plan: the ids, grouped.
        placement: of the table.

    Attributes:
        plan, placement: as given.
        order: places of the distinct ids among `plan.unique`, by owner.
        counts: how many each rank gets.
        places: of the distinct ids, in that order: the rows at their owners.
    """

    def __init__(self, plan: RowPlan, placement: Placement) -> None:
        self.plan, self.placement = plan, placement
        owners, places = placement.owners_and_places(plan.unique)
        self.order = np.argsort(owners, kind="stable")
        self.counts = np.bincount(owners, minlength=placement.ranks)
        self.places = places[self.order]

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Of each id of the batch, the place of its row in the route's order."""
        found = np.empty(len(self.order), np.int64)
        found[self.order] = np.arange(len(self.order))
        numbers: NDArray[np.int64] = found[self.plan.inverse]
        return numbers

    def merged(
        self, gradient: IndexedSlices, merge: Merge, wire: Wire | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        """What is sent of the gradient of the batch: how many rows to each rank, ids, rows."""
        if merge == "order":
            # By owner, then as the ids come.
            owners = np.searchsorted(np.cumsum(self.counts), self.numbers, side="right")
            sending = np.argsort(owners, kind="stable")
            counts = np.bincount(owners, minlength=len(self.counts))
            rows = _core.gather(np.ascontiguousarray(gradient.values), sending, None)
            return counts, self.places[self.numbers[sending]], rows
        values, bags = unexpanded(gradient)
        if merge == "fast":
            _, summed, _ = _core.coalesce(self.plan, values, self.plan.num_rows, False, bags)
            rows = _core.gather(summed, self.order, None)
            return self.counts, self.places, rows if wire is None else rounded(rows)
        times, rows = _core.exact_terms(self.plan, values, self.order, bags)
        before = np.concatenate([[0], np.cumsum(times)])
        counts = np.diff(before[np.concatenate([[0], np.cumsum(self.counts)])])
        return counts, np.repeat(self.places, times), rows


def rounded(rows: NDArray[np.float32]) -> NDArray[Any]:
    """Numbers as bfloat16: to nearest, ties to even; NaN and infinities stay."""
    with np.errstate(invalid="ignore"):  # NaN of any kind
        return rows.astype(ml_dtypes.bfloat16)


def slices(
    rows: NDArray[Any], ids: NDArray[np.int64], shape: tuple[int, ...], is_exact: bool
) -> IndexedSlices:
    """Gradients of rows, for an optimizer."""
    return ExactSlices(rows, ids, shape) if is_exact else IndexedSlices(rows, ids, shape)


def exchange(
    comm: Communicator,
    send: NDArray[Any],
    send_counts: NDArray[np.int64],
    receive_counts: NDArray[np.int64],
) -> NDArray[Any]:
    """Rows for each rank, in the order of ranks; returns those that come."""
    found = np.empty((int(receive_counts.sum()), *send.shape[1:]), send.dtype)
    comm.all_to_all_v(
        np.ascontiguousarray(send), send_counts.tolist(), found, receive_counts.tolist()
    )
    return found
