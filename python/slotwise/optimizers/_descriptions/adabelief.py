# SPDX-License-Identifier: Apache-2.0
"""AdaBelief."""

from __future__ import annotations

from dataclasses import replace

from slotwise.optimizers._description import (
    BETAS,
    EPSILON,
    LEARNING_RATE,
    Description,
    Slot,
    Update,
    exact,
)
from slotwise.optimizers._descriptions import adam

CURRENT = Description(
    name="AdaBelief",
    parameters=(LEARNING_RATE, *map(exact, BETAS), replace(EPSILON, default=1e-16)),
    slots=(Slot("m"), Slot("s")),
    update=lambda on: Update("AdaBelief", ("m", "s"), "whole"),
    coefficients=adam.coefficients,
    config=("learning_rate", "beta_1", "beta_2", "epsilon"),
    interleaved=("m", "s"),
    is_in_keras3=False,
)
