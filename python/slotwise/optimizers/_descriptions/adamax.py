# SPDX-License-Identifier: Apache-2.0
"""Adamax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slotwise.optimizers._description import (
    BETAS,
    EPSILON,
    LEARNING_RATE,
    Description,
    Options,
    Scope,
    Slot,
    Update,
    exact,
)
from slotwise.optimizers._numbers import Numbers


def _update(scope: Scope) -> Callable[[Options], Update]:
    return lambda on: Update("AdaMax", ("m", "largest"), scope)


def _coefficients(x: Numbers) -> dict[str, Any]:
    return {
        "beta1_power": x.power("beta_1"),
        "lr": x.lr,
        "beta1": x["beta_1"],
        "beta2": x["beta_2"],
        "epsilon": x["epsilon"],
    }


LEGACY = Description(
    name="Adamax",
    parameters=(LEARNING_RATE, *BETAS, EPSILON),
    slots=(Slot("m"), Slot("largest", "v")),
    update=_update("rows"),
    coefficients=_coefficients,
    config=("learning_rate", "decay", "beta_1", "beta_2", "epsilon"),
)
CURRENT = replace(
    LEGACY,
    parameters=(LEARNING_RATE, *map(exact, BETAS), EPSILON),
    slots=(Slot("m"), Slot("largest", "u")),
    update=_update("whole"),
    config=("learning_rate", "beta_1", "beta_2", "epsilon"),
    interleaved=("m", "largest"),
)
