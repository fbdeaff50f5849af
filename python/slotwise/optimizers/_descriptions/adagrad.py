"""Adagrad."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slotwise.optimizers._description import (
    EPSILON,
    LEARNING_RATE,
    Description,
    Kind,
    Parameter,
    Slot,
    Update,
)


def _not_negative(name: str, value: Any) -> None:
    if value < 0:
        raise ValueError(f"{name} must be non-negative: {value}")


_INITIAL = Parameter("initial_accumulator_value", 0.1, Kind.NUMBER, through_float32=False)

LEGACY = Description(
    name="Adagrad",
    parameters=(LEARNING_RATE, replace(_INITIAL, check=_not_negative), EPSILON),
    slots=(Slot("accumulator", initial="initial_accumulator_value"),),
    update=lambda opt: Update("AdagradV2", ("accumulator",), "rows", (True,)),
    coefficients=lambda x: {"lr": x.lr, "epsilon": x["epsilon"]},
    config=("learning_rate", "decay", "initial_accumulator_value", "epsilon"),
    optional_iterations=True,
)
CURRENT = replace(
    LEGACY,
    parameters=(LEARNING_RATE, _INITIAL, EPSILON),
    update=lambda opt: Update("KerasAdagrad", ("accumulator",), "rows"),
    config=("learning_rate", "initial_accumulator_value", "epsilon"),
)
