# SPDX-License-Identifier: Apache-2.0
"""Lamb, which Keras has since version 3."""

from __future__ import annotations

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
    name="Lamb",
    parameters=(LEARNING_RATE, *map(exact, BETAS), EPSILON),
    slots=(Slot("m"), Slot("v")),
    update=lambda on: Update("Lamb", ("m", "v"), "whole"),
    # Weights decay before the update, as in the other optimizers; the rule could do it, too.
    coefficients=lambda x: {**adam.coefficients(x), "weight_decay": 0.0},
    config=("learning_rate", "beta_1", "beta_2", "epsilon"),
    interleaved=("m", "v"),
    is_whole=True,
)
