# SPDX-License-Identifier: Apache-2.0
"""Lookups in several tables at once, by as many messages as one table takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from slotwise import _arguments
from slotwise._pooling import Mode, lists_of
from slotwise._tables import Array
from slotwise.distributed._found import Found
from slotwise.distributed._table import ShardedTable, look_up


def lookup(tables: Sequence[ShardedTable], ids: Sequence[Array]) -> list[Found]:
    """Rows of several tables by their ids: `ShardedTable.lookup` of each, together.

    Ranks exchange messages once, not once for each table. It is collective.

    Args:
        tables: of one communicator.
        ids: of each table.

    Returns:
        What is found in each table.

    Raises:
        TypeError, ValueError: something else than tables of one communicator.
        DistributedError: the ids of a rank do not fit; on all of them.

    Example:
        >>> import numpy as np, slotwise
        >>> from slotwise import distributed
        >>> comm = distributed.local()
        >>> user = slotwise.ShardedTable((10, 2), name="user", comm=comm)
        >>> item = slotwise.ShardedTable((5, 3), name="item", comm=comm)
        >>> ids = [np.array([3]), np.arange(4)]
        >>> [found.rows.shape for found in distributed.lookup([user, item], ids)]
        [(1, 2), (4, 3)]
    """
    op = "lookup"
    known = _tables_of(op, tables)

    def given() -> list[tuple[Any, Any]]:
        (each,) = lists_of(op, len(known), ids=ids)
        return [(own, None) for own in each]

    return look_up(op, known, given)


def lookup_pooled(
    tables: Sequence[ShardedTable],
    ids: Sequence[Array],
    offsets: Sequence[ArrayLike],
    weights: Sequence[ArrayLike | None] | None = None,
    mode: Mode = "sum",
    include_last_offset: bool = False,
) -> list[Found]:
    """Rows of several tables pooled by bags: `ShardedTable.lookup_pooled` of each, together.

    Ranks exchange messages once, not once for each table. It is collective.

    Args:
        tables: of one communicator.
        ids, offsets, weights: of each table, as of `slotwise.gather_pooled`.
        mode, include_last_offset: of all.

    Returns:
        What is found in each table.

    Raises:
        TypeError, ValueError: something else than tables of one communicator.
        DistributedError: an argument of a rank does not fit; on all of them.

    Example:
        >>> import numpy as np, slotwise
        >>> from slotwise import distributed
        >>> comm = distributed.local()
        >>> options = {"comm": comm, "initializer": 1.0}
        >>> a, b = (slotwise.ShardedTable((10, 2), name=name, **options) for name in "ab")
        >>> ids, offsets = [np.array([3, 4, 5]), np.array([7])], [[0, 1], [0, 0]]
        >>> [found.rows[:, 0].tolist() for found in distributed.lookup_pooled([a, b], ids, offsets)]
        [[1.0, 2.0], [0.0, 1.0]]
    """
    op = "lookup_pooled"
    known = _tables_of(op, tables)

    def given() -> list[tuple[Any, Any]]:
        lists = lists_of(op, len(known), ids=ids, offsets=offsets, weights=weights)
        return [
            (own, (bounds, factors, mode, include_last_offset))
            for own, bounds, factors in zip(*lists, strict=True)
        ]

    return look_up(op, known, given)


def _tables_of(op: str, tables: Sequence[ShardedTable]) -> list[ShardedTable]:
    what = f"{op}: tables: expected ShardedTables of one communicator"
    known = _arguments.items_of(op, "tables", "ShardedTables", tables)
    for number, table in enumerate(known):
        if not isinstance(table, ShardedTable):
            raise TypeError(f"{what}, got {type(table).__name__} at {number}")
        if table.comm is not known[0].comm:
            raise ValueError(f"{what}, got '{known[0].name}' and '{table.name}' of two")
    if not known:
        raise ValueError(f"{what}, got none")
    return known
