"""Lamb."""

from __future__ import annotations

from typing import Any

from slotwise.optimizers._description import (
    BETAS,
    EPSILON,
    LEARNING_RATE,
    Description,
    Numbers,
    Parameter,
    Slot,
    Update,
    exact,
)
from slotwise.optimizers._descriptions import adam
from slotwise.optimizers._kinds import OPTIONAL_NUMBER
from slotwise.optimizers._numbers import rounded


def _coefficients(x: Numbers) -> dict[str, Any]:
    return {
        **adam.coefficients(x),
        "weight_decay": rounded(x.optimizer._decay_in_direction, x.type),
    }


CURRENT = Description(
    name="Lamb",
    parameters=(
        LEARNING_RATE,
        Parameter("weight_decay", 0.01, OPTIONAL_NUMBER),
        *map(exact, BETAS),
        EPSILON,
    ),
    slots=(Slot("m"), Slot("v")),
    update=lambda opt: Update("Lamb", ("m", "v"), "whole"),
    coefficients=_coefficients,
    config=("learning_rate", "beta_1", "beta_2", "epsilon"),
    interleaved=("m", "v"),
    is_whole=True,
)
