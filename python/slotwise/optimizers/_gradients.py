"""Lists of (gradient, variable) pairs: leaving out what is missing, and clipping."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from slotwise import _core, _tracking
from slotwise._tables import IndexedSlices
from slotwise._variable import Variable

Pair: TypeAlias = tuple[Any, Any]

_log = logging.getLogger("slotwise")


def name_of(variable: Any) -> str:
    return variable.name if isinstance(variable, Variable) else "Variable"


def present(pairs: Iterable[Any]) -> list[Pair]:
    """The pairs that have a gradient; warns of the others.

    Raises:
        ValueError: there are pairs, but none has a gradient.
    """
    given = [(grad, var) for grad, var in pairs]
    found = [pair for pair in given if pair[0] is not None]
    if given and not found:
        names = ([name_of(var) for _, var in given],)
        raise ValueError(
            f"No gradients provided for any variable: {names}. "
            f"Provided `grads_and_vars` is {given}."
        )
    if len(found) < len(given):
        names_missing = [name_of(var) for grad, var in given if grad is None]
        _log.warning(
            "Gradients do not exist for variables %s when minimizing the loss. If you're using "
            "`model.compile()`, did you forget to provide a `loss` argument?",
            names_missing,
        )
    return found


def values_of(gradient: Any) -> Any:
    return gradient.values if isinstance(gradient, IndexedSlices) else gradient


def with_values(gradient: Any, values: Any) -> Any:
    """The gradient with other values."""
    if isinstance(gradient, IndexedSlices):
        return IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return values


def clip(pairs: Sequence[Pair], clipvalue: Any, clipnorm: Any, global_clipnorm: Any) -> list[Pair]:
    """New gradients, clipped by value, then each by its norm, then all by the global norm.

    None means not clipped that way.
    """
    if clipvalue is None and clipnorm is None and global_clipnorm is None:
        return list(pairs)
    values = [values_of(grad) for grad, _ in pairs]
    clipped = _core.clip(values, clipvalue, clipnorm, global_clipnorm)
    return [(with_values(grad, new), var) for (grad, var), new in zip(pairs, clipped, strict=True)]


def all_finite(pairs: Iterable[Pair]) -> bool:
    return all(bool(np.isfinite(values_of(grad)).all()) for grad, _ in pairs)


def mark_touched(pairs: Iterable[Pair], only_rows: bool) -> None:
    """Record what is about to change, for variables whose rows are tracked.

    Args:
        pairs: gradients and variables.
        only_rows: whether a sparse gradient changes nothing but the rows that it names.
    """
    for grad, var in pairs if _tracking.is_used() else ():
        rows = grad.indices if only_rows and isinstance(grad, IndexedSlices) else None
        array = var.value if isinstance(var, Variable) else var
        _tracking.mark(array, getattr(rows, "unique", rows))  # of a RowPlan
