# SPDX-License-Identifier: Apache-2.0
"""The ids of a batch, merged and on their way to the ranks that have their rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

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


class Parcel(NamedTuple):
    """Rows for each rank, in the order of ranks.

    Attributes:
        rows: all of them.
        counts: how many go to each rank.
        coming: how many come from each.
    """

    rows: NDArray[Any]
    counts: NDArray[np.int64]
    coming: NDArray[np.int64]

    def place(self) -> NDArray[Any]:
        """An array for what comes."""
        return np.empty((int(self.coming.sum()), *self.rows.shape[1:]), self.rows.dtype)


_SMALL = 64 << 10  # bytes: of fewer, a message takes longer than they do


def exchange_all(comm: Communicator, parcels: Sequence[Parcel], most: int) -> list[NDArray[Any]]:
    """Exchange rows of several kinds; small ones by one message to each rank.

    Args:
        comm: the ranks.
        parcels: of as many kinds on all ranks.
        most: bytes that a rank sends or gets of these kinds, at most: the same number on all.

    Returns:
        What comes of each kind, in the order of ranks.
    """
    found = [parcel.place() for parcel in parcels]
    if len(parcels) < 2 or most > _SMALL * len(parcels) * comm.size:
        for place, (rows, counts, coming) in zip(found, parcels, strict=True):
            send = np.ascontiguousarray(rows)
            comm.all_to_all_v(send, counts.tolist(), place, coming.tolist())
        return found
    # Of all kinds what goes to the first rank, then to the second, and so on.
    sending = [_by_rank(rows, counts) for rows, counts, _ in parcels]
    places = [_by_rank(*each) for each in zip(found, [p.coming for p in parcels], strict=True)]
    sizes, sizes_coming = (
        [sum(map(len, each)) for each in zip(*pieces, strict=True)] for pieces in (sending, places)
    )
    received = np.empty(sum(sizes_coming), np.uint8)
    packed = [piece for each in zip(*sending, strict=True) for piece in each]
    comm.all_to_all_v(np.concatenate(packed), sizes, received, sizes_coming)
    begin = 0
    for each in zip(*places, strict=True):
        for place in each:
            place[...] = received[begin : begin + len(place)]
            begin += len(place)
    return found


def _by_rank(rows: NDArray[Any], counts: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """The bytes of the rows of each rank."""
    size = rows.itemsize * math.prod(rows.shape[1:])
    data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
    return np.split(data, np.cumsum(counts[:-1]) * size)
