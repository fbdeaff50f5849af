# SPDX-License-Identifier: Apache-2.0
"""Adam, and AdamW, which is Adam with a weight decay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from slotwise.optimizers._description import (
    BETAS,
    EPSILON,
    LEARNING_RATE,
    Description,
    Options,
    Parameter,
    Slot,
    Update,
    exact,
)
from slotwise.optimizers._kinds import FLAG, OPTIONAL_NUMBER
from slotwise.optimizers._numbers import Numbers


def _update(on: Options) -> Update:
    if on["amsgrad"]:
        return Update("AdamWithAmsgrad", ("m", "v", "vhat"), "whole")
    use_nesterov = (False,)
    return Update("Adam", ("m", "v"), "whole", use_nesterov)


def coefficients(x: Numbers) -> dict[str, Any]:
    return {
        "beta1_power": x.power("beta_1"),
        "beta2_power": x.power("beta_2"),
        "lr": x.lr,
        "beta1": x["beta_1"],
        "beta2": x["beta_2"],
        "epsilon": x["epsilon"],
    }


def adaptive_coefficients(x: Numbers) -> dict[str, Any]:
    values = coefficients(x)
    if x.values["adaptive_epsilon"]:
        values["epsilon"] = x.type(values["epsilon"]) * np.sqrt(1 - values["beta2_power"])
    return values


_AMSGRAD = Parameter("amsgrad", False, FLAG)
_ADAPTIVE_EPSILON = Parameter("adaptive_epsilon", False, FLAG)
_EXACT_BETAS = tuple(exact(beta) for beta in BETAS)

LEGACY = Description(
    name="Adam",
    parameters=(LEARNING_RATE, *BETAS, EPSILON, _AMSGRAD),
    slots=(Slot("m"), Slot("v"), Slot("vhat", needs="amsgrad")),
    update=_update,
    coefficients=coefficients,
    config=("learning_rate", "decay", "beta_1", "beta_2", "epsilon", "amsgrad"),
    options=("amsgrad",),
    spare_slots=1,
    variants=({}, {"amsgrad": True}),
)
CURRENT = replace(
    LEGACY,
    parameters=(LEARNING_RATE, *_EXACT_BETAS, EPSILON, _ADAPTIVE_EPSILON, _AMSGRAD),
    coefficients=adaptive_coefficients,
    config=("learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad"),
    interleaved=("m", "v"),
)
ADAMW = replace(
    CURRENT,
    name="AdamW",
    parameters=(
        LEARNING_RATE,
        Parameter("weight_decay", 0.004, OPTIONAL_NUMBER),
        *_EXACT_BETAS,
        EPSILON,
        _AMSGRAD,
    ),
    coefficients=coefficients,
    variants=({},),
)
