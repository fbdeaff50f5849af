"""Weight decay and moving averages of optimizers whose update is written in Python.

The extension computes both, as in the pass of the optimizers built in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from slotwise import _core, _tracking
from slotwise._variable import Variable
from slotwise.optimizers._numbers import compute_type, rounded


def decay(op: str, variable: Variable, rows: Any, weight_decay: Any, rate: Any) -> None:
    """var -= var * weight_decay * rate

    Args:
        op: what errors begin with.
        variable: the variable.
        rows: the rows that decay; None for all.
        weight_decay, rate: the numbers.
    """
    kind = compute_type(variable.dtype)
    numbers = float(rounded(weight_decay, kind)), float(rounded(rate, kind))
    with _changing(variable, rows) as var:
        _core.decay_weights(op, var, rows, numbers)


def average(
    op: str, held: Variable, variable: Variable, rows: Any, momentum: float, overwrites: bool
) -> None:
    """average = momentum * average + (1 - momentum) * var, and then var = average, if it overwrites

    Args:
        op: what errors begin with.
        held, variable: the average and the variable.
        rows: the rows that follow; None for all.
        momentum, overwrites: the settings.
    """
    with _changing(held, rows) as own:
        if not overwrites:
            return _core.average_weights(op, own, _taken(variable), rows, (momentum, False))
        with _changing(variable, rows) as var:
            return _core.average_weights(op, own, var, rows, (momentum, True))


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
