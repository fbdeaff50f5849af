# SPDX-License-Identifier: Apache-2.0
"""Tables of rows: their memory, reading rows, and merging gradients of equal ids.

Pooling rows is in `_pooling`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from slotwise import _arguments, _core, _variable
from slotwise._variable import deferred_of, is_recorded, plain

Array: TypeAlias = Any  # an ndarray, or an exporter of the buffer protocol or DLPack
Shape: TypeAlias = SupportsIndex | Sequence[SupportsIndex]


@dataclass(frozen=True)
class IndexedSlices:
    """Rows of a gradient and where they belong; a sparse gradient, as in TensorFlow.

    Row ``values[i]`` belongs to row ``indices[i]``; rows of equal indices add up.

    Args:
        values: shape ``(n, ...)``.
        indices: int32 or int64, shape ``(n,)``.
        dense_shape: shape of the array that the rows are of, if known.

    Example:
        >>> import numpy as np, slotwise
        >>> slices = slotwise.IndexedSlices(np.ones((2, 4)), np.array([7, 3]), (10, 4))
        >>> slices.dense_shape, float((-slices).values.sum())
        ((10, 4), -8.0)
    """

    values: Array
    indices: Array
    dense_shape: tuple[int, ...] | None = None

    def __neg__(self) -> "IndexedSlices":
        values = self.values
        if not isinstance(values, np.ndarray) and hasattr(values, "__dlpack__"):
            values = _core.as_array("IndexedSlices", "values", values)
        return IndexedSlices(np.negative(values), self.indices, self.dense_shape)


class RowPlan(_core.RowPlan):
    """Row ids grouped once, for use by several calls on tables that share them.

    Every sparse op takes a plan in place of ``indices``.

    Args:
        ids: int32 or int64, each in ``[0, num_rows)``.
        num_rows: rows of the tables.
        bounds: ``"raise"`` or ``"skip"`` ids that are out of range. A plan that skipped any serves
            calls with ``bounds="skip"``; those with ``bounds="raise"`` refuse it. Ops without
            ``bounds``, `coalesce` and the scatter ops, leave out what the plan does.

    Attributes:
        unique: the distinct ids, in order of first appearance.
        counts: how often each of them occurs.
        inverse: of each id, its place in ``unique`` (-1 if it was skipped).
        num_rows, skipped: as given; how many ids were out of range.

    Raises:
        TypeError: ids that are not int32 or int64.
        ValueError: an id out of range.

    Example:
        >>> import numpy as np, slotwise
        >>> plan = slotwise.RowPlan(np.array([5, 2, 5]), num_rows=10)
        >>> plan.unique.tolist(), plan.counts.tolist(), plan.inverse.tolist(), len(plan)
        ([5, 2], [2, 1], [0, 1, 0], 3)
    """

    def __init__(self, ids: Array, num_rows: int, bounds: str = "raise") -> None:
        super().__init__(ids, _row_count("RowPlan", num_rows), bounds)


def _row_count(op: str, num_rows: int) -> int:
    count = _arguments.index_of(op, "num_rows", num_rows)
    if not 0 <= count < 2**63:
        got = _arguments.shown(count)
        raise ValueError(f"{op}: num_rows: expected 0 <= num_rows < 2**63, got {got}")
    return count


def gather(table: Array, ids: Array, out: Array | None = None) -> NDArray[Any]:
    """Copy rows of a table: ``table[ids]``, by threads that fetch ahead.

    Inside a `GradientTape`, the gradient of a `Variable` that was only gathered from is
    `IndexedSlices`.

    Args:
        table: C-contiguous, shape ``(rows, ...)``, any dtype of numbers; or a `Variable`.
        ids: int32 or int64 of any shape, each in ``[0, rows)``.
        out: where to put the result; C-contiguous, shape ``ids.shape + table.shape[1:]``.

    Returns:
        ``out``, or a new array.

    Raises:
        TypeError, ValueError: arguments that do not fit; an id out of range.

    Example:
        >>> import numpy as np, slotwise
        >>> slotwise.gather(np.array([[1, 2], [3, 4], [5, 6]]), np.array([2, 0])).tolist()
        [[5, 6], [1, 2]]
    """
    if type(table) is np.ndarray:  # as most are: nothing more to ask
        return _core.gather(table, ids, out)
    if not is_recorded(table):
        return rows_now(table, ids, out)
    if out is not None:
        raise ValueError("gather: out: expected None for a table that a GradientTape records")
    rows: NDArray[Any] = _variable._recording.gather(table, ids)
    return rows


def rows_now(table: Any, ids: Any, out: Any = None) -> NDArray[Any]:
    """Rows of a table, whose steps may have been put off, as they are now."""
    deferred = deferred_of(table)
    if deferred is None:
        return _core.gather(plain(table), ids, out)
    return deferred.core.read(deferred.which, plain(ids), out)


@overload
def coalesce(
    ids: Array,
    grads: Array,
    num_rows: int,
    return_inverse: Literal[False] = False,
    exact: bool = False,
) -> tuple[NDArray[np.int64], NDArray[Any]]: ...
@overload
def coalesce(
    ids: Array,
    grads: Array,
    num_rows: int,
    return_inverse: Literal[True],
    exact: bool = False,
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]: ...
def coalesce(
    ids: Array, grads: Array, num_rows: int, return_inverse: bool = False, exact: bool = False
) -> (
    tuple[NDArray[np.int64], NDArray[Any]]
    | tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]
):
    """Sum the rows of equal ids.

    Rows are added in order of appearance, float16 and bfloat16 in float32 with one rounding at the
    end. The result does not depend on the number of threads.

    Args:
        ids: int32 or int64, shape ``(n,)``, each in ``[0, num_rows)``; or a `RowPlan`.
        grads: shape ``(n, ...)``, floating-point.
        num_rows: rows of the table that the ids are for.
        return_inverse: whether to return the inverse, too.
        exact: whether rows are added as if nothing were rounded before the end: the float nearest
            to the sum, in whatever order the ids come.

    Returns:
        The distinct ids in order of first appearance, their sums, and, if asked for, the place of
        each of ``ids`` among them.

    Raises:
        TypeError, ValueError: arguments that do not fit; an id out of range.

    Example:
        >>> import numpy as np, slotwise
        >>> uniq, summed = slotwise.coalesce(np.array([5, 2, 5]), np.array([1.0, 2.0, 3.0]), 10)
        >>> uniq.tolist(), summed.tolist()
        ([5, 2], [4.0, 2.0])
    """
    has_inverse = _arguments.flag_of("coalesce", "return_inverse", return_inverse)
    is_exact = _arguments.flag_of("coalesce", "exact", exact)
    unique, summed, plan = _core.coalesce(ids, grads, _row_count("coalesce", num_rows), is_exact)
    return (unique, summed, plan.inverse) if has_inverse else (unique, summed)


def empty(shape: Shape, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Memory for a table: `zeros`, whose memory costs nothing until it is used.

    Example:
        >>> import slotwise
        >>> slotwise.empty((2, 3)).shape
        (2, 3)
    """
    return zeroed("empty", shape, dtype)


def zeros(shape: Shape, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """An array of zeros, aligned to cache lines; large ones ask for huge pages.

    Random rows of a table of gigabytes cost less to reach in huge pages. Any array works as a
    table; this one is faster.

    Args:
        shape: an integer or a sequence of integers.
        dtype: any dtype of numbers, float32 by default.

    Raises:
        TypeError: sizes that are no integers; a dtype of something else than numbers.
        ValueError: a negative size; more than 64 sizes.
        MemoryError: there is not so much.

    Example:
        >>> import slotwise
        >>> slotwise.zeros(3).tolist()
        [0.0, 0.0, 0.0]
    """
    return zeroed("zeros", shape, dtype)


def zeroed(op: str, shape: Any, dtype: Any) -> NDArray[Any]:
    """An array as `zeros` makes it; errors begin with the op."""
    kind = _arguments.dtype_of(op, dtype)
    sizes = _arguments.sizes_of(op, shape, kind.itemsize)
    count = kind.itemsize
    for size in sizes:
        count *= size
    try:
        memory: NDArray[Any] = _core.allocate(count)
    except MemoryError:
        raise _arguments.no_memory(op, sizes) from None
    return memory.view(kind).reshape(sizes)


def filled(op: str, name: str, array: NDArray[Any], value: Any) -> NDArray[Any]:
    """An array, after a value was written into all of it."""
    given = _arguments.array(op, name, value)
    expected = f"a value that fits shape {array.shape}"
    return _arguments.converted(op, name, expected, given, lambda x: _written(array, x))


def _written(array: NDArray[Any], value: Any) -> NDArray[Any]:
    array[...] = value
    return array


def full(shape: Shape, fill_value: ArrayLike, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """The same, filled with a value.

    Example:
        >>> import slotwise
        >>> slotwise.full(2, 0.5).tolist()
        [0.5, 0.5]
    """
    return filled("full", "fill_value", zeroed("full", shape, dtype), fill_value)
