# SPDX-License-Identifier: Apache-2.0
"""Tracking of rows, as users call it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from slotwise import _names, _tracking
from slotwise._tracking import TouchedRows
from slotwise.optimizers._state import array_of


def track(variable: Any) -> TouchedRows:
    """Record which rows of a variable change, so that `slotwise.save_delta` can write just those.

    A sparse gradient of an optimizer that updates the rows that it names (see
    `slotwise.support_matrix`; with ``sparse="lazy"``, all do) marks these. Whatever else an
    optimizer or ``assign`` does marks all rows. Writes into the array itself, and raw ops, are not
    seen: report them by ``mark``. It takes a byte for each row.

    Args:
        variable: a Variable, an array or a parameter of PyTorch, of rank 1 or more; or a table that
            is spread over ranks, of which the rows that are here. Tracked already, it stays so.

    Returns:
        What records the rows: ``rows`` are those touched so far, ``mark(ids)`` adds some and
        ``mark()`` all.

    Raises:
        ValueError: an array of rank 0.

    Example:
        >>> import numpy as np, slotwise
        >>> emb = slotwise.Variable(np.zeros((100, 4), np.float32), name="emb")
        >>> touched = slotwise.track(emb)
        >>> grad = slotwise.IndexedSlices(np.ones((2, 4), np.float32), np.array([7, 3]), emb.shape)
        >>> _ = slotwise.optimizers.Adagrad().apply_gradients([(grad, emb)])
        >>> touched.rows.tolist()
        [3, 7]
    """
    array = _array_of("track", variable)
    if not array.ndim:
        raise ValueError("track: variable: expected rank 1 or more, got a number")
    return _tracking.start(array, variable if _names.is_tensor(variable) else None)


def untrack(variable: Any) -> None:
    """Record no longer which rows change.

    Args:
        variable: as of `track`.

    Example:
        >>> import slotwise
        >>> emb = slotwise.Variable([1.0, 2.0])
        >>> _ = slotwise.track(emb)
        >>> slotwise.untrack(emb)
    """
    _tracking.stop(_array_of("untrack", variable))


def _array_of(op: str, variable: Any) -> NDArray[Any]:
    if _names.is_tensor(variable):
        return _names.array_of_tensor(op, "variable", variable)
    return array_of(op, _names.here(variable))
