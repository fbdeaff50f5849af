"""What surrounds an update, in NumPy: for optimizers whose update is written in Python.

Those built in have it done by the extension, in one pass with the update.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slotwise import _tracking
from slotwise._variable import Variable
from slotwise.optimizers._numbers import compute_type, rounded


def decay(variable: Variable, rows: Any, weight_decay: Any, rate: Any) -> None:
    """w -= (w * weight_decay) * rate"""
    kind = compute_type(variable.dtype)
    array = variable.value
    with np.errstate(all="ignore"):
        w = array[rows].astype(kind)
        _mark(variable, rows)
        array[rows] = w - (w * rounded(weight_decay, kind)) * rounded(rate, kind)


def average(held: Variable, variable: Variable, rows: Any, momentum: float) -> None:
    """held = momentum * held + (1 - momentum) * w"""
    kind = compute_type(variable.dtype)
    with np.errstate(all="ignore"):
        w, before = (x.value[rows].astype(kind) for x in (variable, held))
        _mark(held, rows)
        held.value[rows] = kind(momentum) * before + kind(1 - momentum) * w


def overwrite(variable: Variable, rows: Any, held: Variable) -> None:
    _mark(variable, rows)
    variable.value[rows] = held.value[rows]


def _mark(variable: Variable, rows: Any) -> None:
    _tracking.mark(variable.value, None if rows is ... else rows)
