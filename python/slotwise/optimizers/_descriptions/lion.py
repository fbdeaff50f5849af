# SPDX-License-Identifier: Apache-2.0
"""Lion."""

from __future__ import annotations

from dataclasses import replace

from slotwise.optimizers._description import (
    BETAS,
    LEARNING_RATE,
    Description,
    Slot,
    Update,
)
from slotwise.optimizers._kinds import Hyper, Number

_ABOVE_ZERO = Number(
    above=0,
    at_most=1,
    words="`{name}`={value} must be between ]0, 1]. Otherwise, the optimizer degenerates to "
    "SignSGD.",
)

CURRENT = Description(
    name="Lion",
    parameters=(
        replace(LEARNING_RATE, default=0.0001),
        replace(BETAS[0], kind=Hyper(_ABOVE_ZERO)),
        replace(BETAS[1], default=0.99),
    ),
    slots=(Slot("m"),),
    update=lambda on: Update("Lion", ("m",), "whole"),
    coefficients=lambda x: {"lr": x.lr, "beta1": x["beta_1"], "beta2": x["beta_2"]},
    config=("learning_rate", "beta_1", "beta_2"),
)
