# SPDX-License-Identifier: Apache-2.0
"""Adagrad."""

from __future__ import annotations

from dataclasses import replace

from slotwise.optimizers._description import (
    EPSILON,
    LEARNING_RATE,
    Description,
    Parameter,
    Slot,
    Update,
)
from slotwise.optimizers._kinds import NOT_NEGATIVE, Number

_INITIAL = Parameter("initial_accumulator_value", 0.1, NOT_NEGATIVE, through_float32=False)
_NOT_NEGATIVE = Number(at_least=0, words="{name} must be non-negative: {value}")

LEGACY = Description(
    name="Adagrad",
    parameters=(LEARNING_RATE, replace(_INITIAL, kind=_NOT_NEGATIVE), EPSILON),
    slots=(Slot("accumulator", initial="initial_accumulator_value"),),
    update=lambda on: Update("AdagradV2", ("accumulator",), "rows", (True,)),
    coefficients=lambda x: {"lr": x.lr, "epsilon": x["epsilon"]},
    config=("learning_rate", "decay", "initial_accumulator_value", "epsilon"),
    optional_iterations=True,
)
CURRENT = replace(
    LEGACY,
    parameters=(LEARNING_RATE, _INITIAL, EPSILON),
    update=lambda on: Update("KerasAdagrad", ("accumulator",), "rows"),
    config=("learning_rate", "initial_accumulator_value", "epsilon"),
)
