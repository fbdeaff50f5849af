# SPDX-License-Identifier: Apache-2.0
"""Pooling rows of tables by bags, and the gradients of pooled rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slotwise import _arguments, _core
from slotwise._tables import Array, IndexedSlices, RowPlan
from slotwise._variable import deferred_of, is_recorded, plain

Mode: TypeAlias = Literal["sum", "mean", "sqrtn"]
Bags: TypeAlias = tuple[Any, Any, Mode, bool]  # offsets, weights, mode, include_last_offset


# ----- forward -----------------------------------------------------------------------------------


def gather_pooled(
    table: Array | Sequence[Array],
    ids: Array | Sequence[Array],
    offsets: ArrayLike | Sequence[ArrayLike],
    weights: ArrayLike | Sequence[ArrayLike | None] | None = None,
    mode: Mode = "sum",
    include_last_offset: bool = False,
    out: Array | None = None,
) -> NDArray[Any]:
    """Pool rows of a table, or of several, by bags (an embedding bag).

        out[b] = sum(w[i] * table[ids[i]]) / d        for i from offsets[b] to the next offset

    with d = 1 for ``"sum"``, sum(w) for ``"mean"`` and sqrt(sum(w^2)) for ``"sqrtn"``; w is 1
    without weights. An empty bag is 0, and so is one with d = 0. float16 and bfloat16 are computed
    in float32.

    With lists of tables, ids and offsets (and weights, of which any may be None), all are pooled in
    one call, and their rows come beside each other: tables may differ in width and dtype. Those of
    several dtypes give float32, or float64 if one of them is that.

    Args:
        table: C-contiguous, shape ``(rows, ...)``, floating-point; or a `Variable`.
        ids: int32 or int64, shape ``(n,)``, each in ``[0, rows)``; or a `RowPlan`. What the plan
            skipped is in no bag.
        offsets: where each bag begins in ``ids``: ascending from 0, at most n.
        weights: shape ``(n,)``.
        mode: what the sum is divided by.
        include_last_offset: whether ``offsets`` ends with n, the end of the last bag.
        out: where to put the result; C-contiguous, of its shape and dtype.

    Returns:
        ``out``, or a new array of shape ``(bags, ...)``; of several tables ``(bags, sum of
        widths)``.

    Raises:
        TypeError, ValueError: arguments that do not fit; an id out of range.

    Example:
        >>> import numpy as np, slotwise
        >>> table = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        >>> ids, offsets = np.array([0, 2, 1]), [0, 2]
        >>> slotwise.gather_pooled(table, ids, offsets, mode="mean").tolist()
        [[3.0, 4.0], [3.0, 4.0]]
        >>> other = np.array([[1.0], [3.0], [5.0]])
        >>> slotwise.gather_pooled([table, other], [ids, ids], [offsets, [0, 1]]).tolist()
        [[6.0, 8.0, 1.0], [3.0, 4.0, 8.0]]
    """
    op = "gather_pooled"
    if not isinstance(table, (list, tuple)):
        if is_recorded(table):
            raise _recorded(op, "table")
        bags = offsets, weights, mode, include_last_offset
        return _core.gather_pooled([(*rows_and_places(table, ids), bags)], False, out)
    if any(map(is_recorded, table)):
        place = [*map(is_recorded, table)].index(True)
        raise _recorded(op, f"table[{place}]")
    lists = lists_of(op, len(table), ids=ids, offsets=offsets, weights=weights)
    items = [
        (*rows_and_places(each, own_ids), (own_offsets, own_weights, mode, include_last_offset))
        for each, own_ids, own_offsets, own_weights in zip(table, *lists, strict=True)
    ]
    return _core.gather_pooled(items, True, out)


def rows_and_places(table: Any, ids: Any) -> tuple[Any, Any]:
    """A table and ids; if its rows have steps to make up for, just those rows, and their places."""
    deferred = deferred_of(table)
    if deferred is None:
        return plain(table), ids
    if isinstance(ids, RowPlan) and ids.skipped:
        return table.value, ids
    plan = ids if isinstance(ids, RowPlan) else RowPlan(plain(ids), len(table))
    return deferred.core.read(deferred.which, plan.unique), plan.inverse


def lists_of(op: str, count: int, **arguments: Any) -> list[list[Any]]:
    """A list with an item for each table, of every argument."""
    lists = []
    for name, value in arguments.items():
        is_left_out = name == "weights" and value is None
        given = [None] * count if is_left_out else value
        items = _arguments.items_of(op, name, "one for each table", given)
        if len(items) != count:
            raise ValueError(
                f"{op}: {name}: expected {count}, one for each table, got {len(items)}"
            )
        lists.append(items)
    return lists


def _recorded(op: str, name: str) -> TypeError:
    return TypeError(f"{op}: {name}: a GradientTape records no pooling of rows")


class Jagged(NamedTuple):
    """Ids of several tables, as `gather_pooled` takes them: a list of each, an item per table."""

    ids: list[NDArray[Any]]
    offsets: list[NDArray[np.int64]]
    weights: list[NDArray[Any]] | None = None


def split_jagged(
    values: Array, lengths: ArrayLike, tables: int, weights: ArrayLike | None = None
) -> Jagged:
    """Ids of several tables that lie behind each other, as lists of each table's.

    The order is that of TorchRec's ``KeyedJaggedTensor``: all bags of the first table, then all of
    the second, and so on.

    Args:
        values: ids of all tables, int32 or int64, shape ``(n,)``. The lists have views of them.
        lengths: how many of them each bag has, shape ``(tables * bags,)``.
        tables: how many tables there are.
        weights: shape ``(n,)``.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> import numpy as np, slotwise
        >>> values, lengths = np.array([7, 8, 9, 5, 6]), [2, 1, 0, 2]
        >>> ids, offsets, _ = slotwise.split_jagged(values, lengths, tables=2)
        >>> [x.tolist() for x in ids], [x.tolist() for x in offsets]
        ([[7, 8, 9], [5, 6]], [[0, 2], [0, 0]])
        >>> tables = [np.ones((10, 1)), np.ones((10, 2))]
        >>> slotwise.gather_pooled(tables, *slotwise.split_jagged(values, lengths, 2)).tolist()
        [[2.0, 0.0, 0.0], [1.0, 2.0, 2.0]]
    """
    op = "split_jagged"
    ids = _core.as_array(op, "values", values)
    if ids.ndim != 1:
        raise ValueError(f"{op}: values: expected rank 1, got rank {ids.ndim}")
    number = _arguments.index_of(op, "tables", tables)
    sizes = _arguments.array(op, "lengths", lengths)
    if sizes.ndim != 1 or (sizes.size > 0 and sizes.dtype.kind not in "iu"):
        raise TypeError(
            f"{op}: lengths: expected a vector of integers, "
            f"got shape {sizes.shape} of dtype {sizes.dtype}"
        )
    if number < 1 or sizes.size % number:
        raise ValueError(
            f"{op}: tables: expected a positive number that {sizes.size} lengths divide by, "
            f"got {_arguments.shown(number)}"
        )
    sizes = sizes.astype(np.int64)
    if (sizes < 0).any() or sizes.sum() != ids.size:
        raise ValueError(
            f"{op}: lengths: expected numbers >= 0 whose sum is {ids.size}, the number of values, "
            f"got {_arguments.shown(sizes.tolist())}"
        )
    by_table = sizes.reshape(number, -1)
    ends = np.cumsum(by_table.sum(axis=1))
    parts = [slice(end - size, end) for end, size in zip(ends, by_table.sum(axis=1), strict=True)]
    factors = None
    if weights is not None:
        given = _arguments.array(op, "weights", weights)
        if given.shape != ids.shape:
            raise ValueError(
                f"{op}: weights: expected shape {ids.shape} like values, got {given.shape}"
            )
        factors = [given[part] for part in parts]
    return Jagged(
        [ids[part] for part in parts],
        [np.cumsum(own) - own for own in by_table],
        factors,
    )


# ----- backward ----------------------------------------------------------------------------------


class PooledSlices(IndexedSlices):
    """The gradient of a table whose rows were pooled by bags: a sparse gradient that stays small.

    That of row ``ids[i]`` in bag b is, in the type that is computed in,

        (w[i] / d) * bag_grads[b]

    with w and d as in `gather_pooled`; rows of equal ids add up. It is formed where a row is
    updated and is nowhere stored: beside what grouping ids takes, it needs 4 bytes per id. It is
    taken wherever `IndexedSlices` are; what has no such kernel (clipping, optimizers written in
    Python) uses ``values``.

    Args:
        bag_grads: the gradient of each bag, shape ``(bags, ...)``, not copied.
        ids, offsets, weights, mode, include_last_offset: as `gather_pooled` was called with. The
            offsets are copied, ids and weights are not.
        dense_shape: shape of the table, if known.

    Attributes:
        grads: ``bag_grads``.
        indices: ``ids``.
        weights: ``weights``.
        values: the gradient of each id, a new array whenever it is asked for, of the dtype of
            ``bag_grads``.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> import numpy as np, slotwise
        >>> bag_grads, ids, offsets = np.array([[4.0], [1.0]]), np.array([7, 3, 7]), [0, 2]
        >>> grad = slotwise.PooledSlices(bag_grads, ids, offsets, mode="mean")
        >>> grad.values.tolist()
        [[2.0], [2.0], [1.0]]
        >>> table = slotwise.Variable(np.zeros((10, 1)))
        >>> _ = slotwise.optimizers.SGD(1.0).apply_gradients([(grad, table)])
        >>> table.numpy()[[3, 7], 0].tolist()
        [-2.0, -3.0]
    """

    grads: Array
    _bags: Bags

    def __init__(
        self,
        bag_grads: Array,
        ids: Array,
        offsets: ArrayLike,
        weights: ArrayLike | None = None,
        mode: Mode = "sum",
        dense_shape: tuple[int, ...] | None = None,
        include_last_offset: bool = False,
    ) -> None:
        grads = _core.as_array("PooledSlices", "bag_grads", plain(bag_grads))
        self._fill(grads, ids, (offsets, weights, mode, include_last_offset), dense_shape)

    def _fill(self, grads: NDArray[Any], ids: Any, bags: Bags, dense_shape: Any) -> None:
        op = "PooledSlices"
        rows = ids if isinstance(ids, RowPlan) else _core.as_array(op, "ids", ids)
        own = _arguments.converted(op, "offsets", "a vector of integers", bags[0], np.asarray)
        bags = (own.copy(), *bags[1:])  # np.array would warn of PyTorch's tensors
        _core.check_bags(grads, rows, bags)
        vars(self).update(grads=grads, indices=rows, _bags=bags, dense_shape=dense_shape)

    @property
    def values(self) -> NDArray[Any]:
        return _core.expand_bags(self.grads, self.indices, self._bags)

    @property
    def weights(self) -> Any:
        """As given; None if there are none."""
        return self._bags[1]

    def with_grads(self, grads: Any) -> PooledSlices:
        """The same with other gradients of bags."""
        new = object.__new__(PooledSlices)
        vars(new).update(vars(self), grads=grads)
        return new

    def with_rows(self, ids: Any, shape: tuple[int, ...], is_exact: bool) -> PooledSlices:
        """The same for other rows of another table; summed as if without rounding, if so asked."""
        new = object.__new__(PooledSlices)
        vars(new).update(vars(self), indices=ids, dense_shape=shape)
        if is_exact:
            vars(new).update(_is_exact=True)
        return new

    def __neg__(self) -> PooledSlices:
        return self.with_grads(np.negative(self.grads))

    def __repr__(self) -> str:
        bags = f"{len(self.grads)} bags of {len(self.indices)} ids"
        weighted = "" if self.weights is None else ", weighted"
        return f"PooledSlices({bags}, mode={self._bags[2]!r}{weighted})"

    @staticmethod
    def of_tables(
        bag_grads: Array,
        tables: Sequence[Array],
        ids: Sequence[Array],
        offsets: Sequence[ArrayLike],
        weights: Sequence[ArrayLike | None] | None = None,
        mode: Mode = "sum",
        include_last_offset: bool = False,
    ) -> list[PooledSlices]:
        """The gradients of several tables, from that of what `gather_pooled` made of them.

        Args:
            bag_grads: shape ``(bags, sum of widths)``. Those of a table are views of it, or copies
                in the dtype of a table that has another.
            tables: the tables.
            ids, offsets, weights, mode, include_last_offset: as `gather_pooled` was called with.

        Example:
            >>> import numpy as np, slotwise
            >>> tables = [np.zeros((5, 2)), np.zeros((5, 1))]
            >>> ids, offsets = [np.array([1, 2]), np.array([4, 4])], [[0, 1], [0, 1]]
            >>> slices = slotwise.PooledSlices.of_tables(np.ones((2, 3)), tables, ids, offsets)
            >>> slices[0].values.tolist(), slices[1].values.tolist()
            ([[1.0, 1.0], [1.0, 1.0]], [[1.0], [1.0]])
        """
        op = "PooledSlices"
        items = _arguments.items_of(op, "tables", "tables", tables)
        lists = lists_of(op, len(items), ids=ids, offsets=offsets, weights=weights)
        arrays = [_core.as_array(op, f"tables[{i}]", plain(x)) for i, x in enumerate(items)]
        widths = [math.prod(array.shape[1:]) for array in arrays]
        grads = _core.as_array(op, "bag_grads", plain(bag_grads))
        if grads.ndim != 2 or grads.shape[1] != sum(widths):
            raise ValueError(
                f"{op}: bag_grads: expected shape (bags, {sum(widths)}), got {grads.shape}"
            )
        slices, column = [], 0
        for array, width, own_ids, own_offsets, own_weights in zip(
            arrays, widths, *lists, strict=True
        ):
            own = grads[:, column : column + width]
            if own.dtype != array.dtype:
                own = own.astype(array.dtype)
            if array.ndim != 2:
                own = own.reshape(len(grads), *array.shape[1:])
            new = object.__new__(PooledSlices)
            bags = (own_offsets, own_weights, mode, include_last_offset)
            new._fill(own, own_ids, bags, array.shape)
            slices.append(new)
            column += width
        return slices


def unexpanded(grad: IndexedSlices) -> tuple[Array, Bags | None]:
    """The rows of a gradient as they are; and, if it is pooled, the bags that have them."""
    return (grad.grads, grad._bags) if isinstance(grad, PooledSlices) else (grad.values, None)


def pooled_weight_gradient(
    bag_grads: Array,
    table: Array,
    ids: Array,
    offsets: ArrayLike,
    include_last_offset: bool = False,
) -> NDArray[Any]:
    """The gradient of the weights of a weighted sum of rows, by `gather_pooled`.

        out[i] = dot(bag_grads[b], table[ids[i]])        for i in bag b

    Args:
        bag_grads: the gradient of each bag, shape ``(bags, ...)``, of the table's dtype.
        table: C-contiguous, shape ``(rows, ...)``, floating-point; or a `Variable`.
        ids, offsets, include_last_offset: as `gather_pooled` was called with, with ``mode="sum"``.

    Returns:
        An array of shape ``(n,)``, 0 for what a plan skipped, of the type that is computed in:
        float64 for float64, else float32.

    Raises:
        TypeError, ValueError: arguments that do not fit; an id out of range.

    Example:
        >>> import numpy as np, slotwise
        >>> table = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> slotwise.pooled_weight_gradient(np.array([[1.0, 10.0]]), table, np.array([1, 0]), [0])
        array([43., 21.])
    """
    bags = (offsets, None, "sum", include_last_offset)
    return _core.pooled_weight_gradient(plain(bag_grads), plain(table), ids, bags)
