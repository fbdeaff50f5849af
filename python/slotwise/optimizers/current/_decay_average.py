# SPDX-License-Identifier: Apache-2.0
"""Weight decay and moving averages of optimizers whose update is written in Python.

The extension computes both, as in the pass of the optimizers built in. All are checked before the
first is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slotwise import _core, _tracking
from slotwise._variable import Variable
from slotwise.optimizers._numbers import compute_type, rounded

Change: TypeAlias = Callable[[], None]  # what was checked, and is done when it is called


def decay(op: str, variable: Variable, rows: Any, weight_decay: Any, rate: Any) -> Change:
    """var -= var * weight_decay * rate, when what is returned is called.

    Args:
        op: what errors begin with.
        variable: the variable.
        rows: the rows that decay; None for all.
        weight_decay, rate: the numbers.

    Raises:
        TypeError, ValueError: what the extension does not take. Nothing is written until the call.
    """
    kind = compute_type(variable.dtype)
    numbers = float(rounded(weight_decay, kind)), float(rounded(rate, kind))
    _core.decay_weights(op, _no_rows_of(variable), None, numbers)

    def change() -> None:
        with _changing(variable, rows) as var:
            _core.decay_weights(op, var, rows, numbers)

    return change


def average(
    op: str, held: Variable, variable: Variable, rows: Any, momentum: float, overwrites: bool
) -> Change:
    """average = momentum * average + (1 - momentum) * var, when what is returned is called.

    And then var = average, if it overwrites.

    Args:
        op: what errors begin with.
        held, variable: the average and the variable.
        rows: the rows that follow; None for all.
        momentum, overwrites: the settings.

    Raises:
        TypeError, ValueError: as of `decay`.
    """
    settings = momentum, overwrites
    sample = _no_rows_of(variable) if overwrites else _no_rows_of(variable).copy()  # writable
    _core.average_weights(op, _no_rows_of(held), sample, None, settings)

    def change() -> None:
        with _changing(held, rows) as own:
            if not overwrites:
                return _core.average_weights(op, own, _taken(variable), rows, settings)
            with _changing(variable, rows) as var:
                return _core.average_weights(op, own, var, rows, settings)

    return change


def _no_rows_of(variable: Variable) -> NDArray[Any]:
    """A part without elements: the extension checks what it can be told of the array by it."""
    array = variable.value
    return array[np.newaxis][:0].view(array.dtype.newbyteorder("="))


@contextmanager
def _changing(variable: Variable, rows: Any) -> Iterator[NDArray[Any]]:
    """A variable's array, or where the extension does not take that, a copy that is put back."""
    array, taken = variable.value, _taken(variable)
    _tracking.mark(array, rows)
    yield taken
    if taken is not array:
        array[...] = taken


def _taken(variable: Variable) -> NDArray[Any]:
    """A variable's array as the extension takes it: contiguous, aligned, in native byte order."""
    array = variable.value
    if array.flags.carray and array.dtype.isnative:
        return array
    return array.astype(array.dtype.newbyteorder("="), order="C")
