# SPDX-License-Identifier: Apache-2.0
"""The rows that a lookup found, and the gradients of the table that those of the rows make."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from slotwise import _core
from slotwise._pooling import PooledSlices
from slotwise._tables import Array, IndexedSlices
from slotwise.distributed._routing import HereRoute, Route

if TYPE_CHECKING:
    from slotwise.distributed._table import ShardedTable


class Found:
    """The rows that a lookup found.

    Attributes:
        rows: a row for each id, or a pooled one for each bag.
    """

    def __init__(
        self,
        table: ShardedTable,
        rows: NDArray[Any],
        ids: NDArray[Any],
        route: Route | HereRoute,
        bags: tuple[Any, ...] | None = None,
    ) -> None:
        self._table, self.rows, self._ids, self._route, self._bags = table, rows, ids, route, bags

    def gradient(self, gradients: Array) -> IndexedSlices:
        """The gradient of the table, of the gradients of `rows`: what an optimizer takes.

        Args:
            gradients: of the shape and dtype of `rows`.

        Raises:
            TypeError, ValueError: another shape or dtype.
        """
        op, what, table = "Found.gradient", "gradients", self._table
        values = _core.as_array(op, what, gradients)
        if values.shape != self.rows.shape:
            raise ValueError(f"{op}: {what}: expected shape {self.rows.shape}, got {values.shape}")
        if values.dtype != table.dtype:
            raise TypeError(f"{op}: {what}: expected {table.dtype}, got {values.dtype}")
        ids: Any = self._route.plan if isinstance(self._route, Route) else self._ids.reshape(-1)
        found: IndexedSlices
        if self._bags is None:
            rows = values.reshape(self._ids.size, *table.shape[1:])
            found = IndexedSlices(rows, ids, table.shape)
        else:
            offsets, weights, mode, include_last = self._bags
            found = PooledSlices(values, ids, offsets, weights, mode, table.shape, include_last)
        vars(found)["_route"] = self._route
        return found


def route_of(gradient: Any, table: ShardedTable) -> Route | HereRoute | None:
    """The way that the rows of a gradient came, if a lookup found them in this table."""
    route: Route | HereRoute | None = getattr(gradient, "_route", None)
    return route if route is not None and route.placement is table.placement else None


def without_route(gradient: Any) -> Any:
    """The same gradient, but any table's."""
    if getattr(gradient, "_route", None) is None:
        return gradient
    other = copy.copy(gradient)
    del vars(other)["_route"]
    return other
