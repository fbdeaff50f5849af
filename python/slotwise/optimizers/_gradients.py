# SPDX-License-Identifier: Apache-2.0
"""Lists of (gradient, variable) pairs: what is accepted, leaving out what is missing, clipping."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments, _core, _names, _tracking
from slotwise._pooling import PooledSlices
from slotwise._tables import IndexedSlices, RowPlan
from slotwise._variable import Variable, described
from slotwise.optimizers._state import array_of, listed

Pair: TypeAlias = tuple[Any, Any]
Places: TypeAlias = Sequence[int]  # where pairs are in the list that the user passed


_log = logging.getLogger("slotwise")


# ----- what is accepted --------------------------------------------------------------------------


LISTS = (list, tuple, zip)  # of pairs, of which `list` makes one without further ado


def pairs_of(op: str, grads_and_vars: Any) -> list[Any]:
    """A list of the user's pairs, as they are."""
    return listed(op, "grads_and_vars", "(gradient, variable) pairs", grads_and_vars)


def accepted(op: str, given: Iterable[Any], lists: bool) -> list[Pair]:
    """The same pairs with gradients of every kind that Keras takes as arrays and IndexedSlices.

    Args:
        op: what errors begin with.
        given: tuples or lists of a gradient and a variable.
        lists: whether a gradient may be a list of numbers.

    Raises:
        TypeError: something else.
        ValueError: lists that are no arrays.
    """
    pairs = []
    for place, pair in enumerate(given):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            is_list = isinstance(pair, (tuple, list))
            got = f"{len(pair)} items" if is_list else type(pair).__name__
            raise TypeError(
                f"{op}: grads_and_vars[{place}]: expected a pair of a gradient and a variable, "
                f"got {got}"
            )
        grad, var = pair
        array = array_of(op, var, place)
        if grad is not None and type(grad) is not np.ndarray:
            gradient = _Gradient(op, var, place, array.dtype, lists)
            grad = gradient.plain(grad)
            gradient.refuse_route(grad)
        pairs.append((grad, var))
    return pairs


def are_same(pairs: Sequence[Pair], others: Sequence[Pair]) -> bool:
    """Whether two lists have the very same gradients."""
    return all(pair[0] is other[0] for pair, other in zip(pairs, others, strict=True))


def is_slices(gradient: Any) -> bool:
    """Whether a gradient is of rows: IndexedSlices, TensorFlow's too, or a sparse tensor."""
    if isinstance(gradient, np.ndarray):
        return False
    if isinstance(gradient, IndexedSlices) or _is_coo(gradient):
        return True
    is_like = hasattr(gradient, "indices") and hasattr(gradient, "values")
    return is_like and not hasattr(gradient, "__dlpack__")  # as tensors have that have both


def _is_coo(gradient: Any) -> bool:
    """Whether it is a tensor of PyTorch that is sparse. (Others have the same methods.)"""
    has_all = all(hasattr(gradient, name) for name in ("_indices", "_values", "_nnz"))
    return has_all and bool(getattr(gradient, "is_sparse", True))


def plain(gradient: Any, op: str = "gradient") -> Any:
    """A gradient of any kind, without its variable: lists are of float32, as TensorFlow's."""
    return _Gradient(op, None, None, np.dtype(np.float32), True).plain(gradient)


class _Gradient:
    """Makes arrays of the gradient of one variable, where it can without copying."""

    def __init__(
        self, op: str, var: Any, place: int | None, dtype: np.dtype[Any], lists: bool
    ) -> None:
        self.op, self.var, self.place = op, var, place
        self.dtype, self.lists = dtype, lists

    def plain(self, grad: Any) -> Any:
        if isinstance(grad, np.ndarray):
            return grad
        if isinstance(grad, Variable):
            return grad.value
        if is_slices(grad):
            return self._slices(grad)
        is_number = isinstance(grad, (int, float)) and not isinstance(grad, (bool, np.generic))
        if is_number or (self.lists and isinstance(grad, (list, tuple))):
            return self._numbers(grad, "")
        return self._held(grad, "")

    def refuse_route(self, grad: Any) -> None:
        """Raise if it is of a ShardedTable, whose rows lie elsewhere."""
        if getattr(grad, "_route", None) is not None:
            raise self._error("one of its own, or an optimizer with comm=", "a ShardedTable's")

    def _slices(self, grad: Any) -> IndexedSlices:
        if isinstance(grad, PooledSlices):  # whose parts were checked
            return grad
        if _is_coo(grad):
            ids = self._held(grad._indices(), ".indices")
            if ids.ndim != 2 or len(ids) != 1:
                raise self._error("a sparse tensor with one dimension of ids", f"{ids.shape[:1]}")
            return IndexedSlices(self._values(grad._values()), ids[0], tuple(grad.shape))
        values, ids, shape = self._values(grad.values), self._ids(grad.indices), None
        if getattr(grad, "dense_shape", None) is not None:
            shape = _arguments.sizes_of(self.op, grad.dense_shape, what=self._part(".dense_shape"))
        is_same = isinstance(grad, IndexedSlices) and values is grad.values and ids is grad.indices
        return grad if is_same else IndexedSlices(values, ids, shape)

    def _values(self, values: Any) -> Any:
        is_list = isinstance(values, (list, tuple))
        return self._numbers(values, ".values") if is_list else self._held(values, ".values")

    def _ids(self, ids: Any) -> Any:
        if isinstance(ids, (list, tuple)):
            return self._array(ids, ".indices") if ids else np.zeros(0, np.int64)
        return ids if isinstance(ids, RowPlan) else self._held(ids, ".indices")

    def _held(self, array: Any, part: str) -> Any:
        if isinstance(array, Variable):
            return array.value
        return _core.as_array(self.op, self._part(part), array)

    def _numbers(self, values: Any, part: str) -> NDArray[Any]:
        array = self._array(values, part)
        if array.size and not (_arguments.is_numeric(array.dtype) and array.dtype.kind not in "bc"):
            raise self._error("numbers", f"{array.dtype}", part)
        return array.astype(self.dtype, copy=False)

    def _array(self, values: Any, part: str) -> NDArray[Any]:
        return _arguments.converted(self.op, self._part(part), "numbers", values, np.asarray)

    def _part(self, part: str) -> str:
        return f"gradient{part} of {described(self.var, self.place)}"

    def _error(self, expected: str, got: str, part: str = "") -> Exception:
        return TypeError(f"{self.op}: {self._part(part)}: expected {expected}, got {got}")


# ----- what is missing ---------------------------------------------------------------------------


def name_of(variable: Any, place: int) -> str:
    named = isinstance(variable, Variable) and variable.name != "Variable"
    return variable.name if named else described(variable, place)


def present(pairs: Sequence[Pair]) -> tuple[list[Pair], Places]:
    """The pairs that have a gradient, and their places in the list; warns of the others.

    Raises:
        ValueError: there are pairs, but none has a gradient.
    """
    places: Places = range(len(pairs))
    found = [pair for pair in pairs if pair[0] is not None]
    if len(found) == len(pairs):
        return found, places
    if not found:
        names = ([name_of(var, place) for place, (_, var) in enumerate(pairs)],)
        raise ValueError(f"No gradients provided for any variable: {names}.")
    missing = [name_of(var, place) for place, (grad, var) in enumerate(pairs) if grad is None]
    _log.warning("Gradients do not exist for variables %s when minimizing the loss.", missing)
    return found, tuple(place for place in places if pairs[place][0] is not None)


# ----- what is refused ---------------------------------------------------------------------------


def refuse_without_shape(op: str, pairs: Iterable[Pair], variables: Iterable[Variable]) -> None:
    """Raise if a sparse gradient, of which a dense one is to be made, has no shape."""
    for (grad, _), var in zip(pairs, variables, strict=True):
        if is_slices(grad) and plain(grad, op).dense_shape is None:
            raise ValueError(
                "Tensor conversion requested for IndexedSlices for variable "
                f"'{var.name}' without dense_shape: {grad}"
            )


def refuse_constrained_rows(pairs: Iterable[Pair], variables: Iterable[Any]) -> None:
    """Raise if a gradient of a variable with a constraint is sparse."""
    for (grad, _), var in zip(pairs, variables, strict=True):
        if is_slices(grad) and getattr(var, "constraint", None) is not None:
            raise RuntimeError(
                "Cannot use a constraint function on a sparse variable. "
                f"Received: grad={grad}, var.constraint={var.constraint}."
            )


# ----- what is done to gradients -----------------------------------------------------------------


def values_of(gradient: Any) -> Any:
    return gradient.values if isinstance(gradient, IndexedSlices) else gradient


def with_values(gradient: Any, values: Any) -> Any:
    """The gradient with other values."""
    if isinstance(gradient, IndexedSlices):
        return IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return values


def divided(gradient: Any, by: Any) -> Any:
    """A gradient divided by a NumPy number; of 16-bit ones in float64, so that it is rounded once.

    What is no gradient stays as it is: it is refused where it is used.
    """
    gradient = plain(gradient)
    if isinstance(gradient, PooledSlices):
        return gradient.with_grads(divided(gradient.grads, by))
    values = np.asarray(values_of(gradient))
    if values.dtype not in _arguments.FLOATS:
        return gradient
    wide = np.float64 if values.dtype.itemsize <= 2 else values.dtype
    with np.errstate(all="ignore"):
        quotient = values.astype(wide, copy=False) / by.astype(wide)
        return with_values(gradient, np.asarray(quotient, values.dtype))


def clip(pairs: Sequence[Pair], clipvalue: Any, clipnorm: Any, global_clipnorm: Any) -> list[Pair]:
    """New gradients, clipped by value, then each by its norm, then all by the global norm.

    None means not clipped that way.
    """
    if clipvalue is None and clipnorm is None and global_clipnorm is None:
        return list(pairs)
    values = [values_of(grad) for grad, _ in pairs]
    clipped = _core.clip(values, clipvalue, clipnorm, global_clipnorm)
    return [(with_values(grad, new), var) for (grad, var), new in zip(pairs, clipped, strict=True)]


def all_finite(op: str, pairs: Iterable[Pair]) -> bool:
    return all(_is_finite(op, grad, var, place) for place, (grad, var) in enumerate(pairs))


def _is_finite(op: str, grad: Any, var: Any, place: int) -> bool:
    def check(values: Any) -> bool:
        return bool(np.isfinite(values).all())

    name = f"gradient of {described(var, place)}"
    # Without weights, bags' finite gradients make finite ones, which need not be formed.
    if isinstance(grad, PooledSlices) and grad.weights is None and check(grad.grads):
        return True
    values = _arguments.array(op, name, values_of(grad))
    return _arguments.converted(op, name, "numbers", values, check)


def mark_touched(pairs: Iterable[Pair], only_rows: bool) -> None:
    """Record what is about to change, for variables whose rows are tracked.

    Args:
        pairs: gradients and variables.
        only_rows: whether a sparse gradient changes nothing but the rows that it names.
    """
    for grad, var in pairs if _tracking.is_used() else ():
        rows = plain(grad).indices if only_rows and is_slices(grad) else None
        _tracking.mark(_names.array_of(var), getattr(rows, "unique", rows))  # of a RowPlan
