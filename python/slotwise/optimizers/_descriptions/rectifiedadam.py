# SPDX-License-Identifier: Apache-2.0
"""RectifiedAdam."""

from __future__ import annotations

import math
from typing import Any

from slotwise.optimizers._description import (
    BETAS,
    EPSILON,
    LEARNING_RATE,
    Description,
    Parameter,
    Slot,
    Update,
    exact,
)
from slotwise.optimizers._descriptions import adam
from slotwise.optimizers._kinds import FLAG, Hyper, Number
from slotwise.optimizers._numbers import Numbers


def length(beta_2: float, step: int) -> float:
    """The length of the average that v is: rho_inf - 2 * step * beta_2^step / (1 - beta_2^step)."""
    power = beta_2**step
    seen = 1.0
    if 0 < power < 1:
        seen = -math.expm1(step * math.log(beta_2))  # 1 - power, also next to 1
    return 2 / (1 - beta_2) - 1 - 2 * step * power / seen


def _coefficients(x: Numbers) -> dict[str, Any]:
    return {
        **adam.adaptive_coefficients(x),
        "sma": length(x["beta_2"], x.step),
        "sma_threshold": x["sma_threshold"],
    }


CURRENT = Description(
    name="RectifiedAdam",
    parameters=(
        LEARNING_RATE,
        *map(exact, BETAS),
        EPSILON,
        exact(Parameter("sma_threshold", 5.0, Hyper(Number(at_least=4)))),
        exact(Parameter("adaptive_epsilon", True, FLAG)),
    ),
    slots=(Slot("m"), Slot("v")),
    update=lambda on: Update("RAdam", ("m", "v"), "slots"),
    coefficients=_coefficients,
    config=("learning_rate", "beta_1", "beta_2", "epsilon", "sma_threshold", "adaptive_epsilon"),
    interleaved=("m", "v"),
    is_in_keras3=False,
)
