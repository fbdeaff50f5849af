# SPDX-License-Identifier: Apache-2.0
"""Adadelta."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from slotwise.optimizers._description import (
    DECAYING,
    EPSILON,
    LEARNING_RATE,
    Description,
    Options,
    Parameter,
    Scope,
    Slot,
    Update,
    exact,
)


def _update(scope: Scope) -> Callable[[Options], Update]:
    return lambda on: Update("Adadelta", ("gradient", "step"), scope)


def _slots(gradient: str, step: str) -> tuple[Slot, ...]:
    return (Slot("gradient", gradient), Slot("step", step))


_RHO = Parameter("rho", 0.95, DECAYING)

LEGACY = Description(
    name="Adadelta",
    parameters=(LEARNING_RATE, _RHO, EPSILON),
    slots=_slots("accum_grad", "accum_var"),
    update=_update("rows"),
    coefficients=lambda x: {"lr": x.lr, "rho": x["rho"], "epsilon": x["epsilon"]},
    config=("learning_rate", "decay", "rho", "epsilon"),
    optional_iterations=True,
)
CURRENT = replace(
    LEGACY,
    parameters=(LEARNING_RATE, exact(_RHO), EPSILON),
    slots=_slots("accumulated_grad", "accumulated_delta_var"),
    update=_update("slots"),  # a gradient of 0 makes a step of 0
    config=("learning_rate", "rho", "epsilon"),
    interleaved=("gradient", "step"),
    needs_dense_shape=True,
)
