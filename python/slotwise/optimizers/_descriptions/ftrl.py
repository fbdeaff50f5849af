# SPDX-License-Identifier: Apache-2.0
"""Ftrl."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slotwise.optimizers._description import (
    LEARNING_RATE,
    Description,
    Options,
    Parameter,
    Scope,
    Slot,
    Update,
    exact,
)
from slotwise.optimizers._kinds import HYPER, Hyper, Number
from slotwise.optimizers._numbers import Numbers

_SHRINKAGE = "l2_shrinkage_regularization_strength"


def _update(scope: Scope) -> Callable[[Options], Update]:
    def update(on: Options) -> Update:
        rule = "FtrlV2" if on[_SHRINKAGE] else "Ftrl"
        multiply_linear_by_lr = (False,)
        return Update(rule, ("accumulator", "linear"), scope, multiply_linear_by_lr)

    return update


def _coefficients(x: Numbers) -> dict[str, Any]:
    lr = x.lr
    l2 = x.type(x["l2_regularization_strength"])
    return {
        "lr": lr,
        "l1": x["l1_regularization_strength"],
        # With a rate of 0 nothing changes.
        "l2": l2 if lr == 0 else l2 + x.type(x["beta"]) / (2 * lr),
        "l2_shrinkage": x[_SHRINKAGE],
        "lr_power": x["learning_rate_power"],
    }


_WORDS = "`{name}` needs to be %s or zero. Received: {name}={value}."
_NOT_NEGATIVE = Number(at_least=0, words=_WORDS % "positive")
_NOT_POSITIVE = Number(at_most=0, words=_WORDS % "negative")

_POWER = Parameter("learning_rate_power", -0.5, Hyper(_NOT_POSITIVE))
_INITIAL = Parameter("initial_accumulator_value", 0.1, _NOT_NEGATIVE)
_L1 = Parameter("l1_regularization_strength", 0.0, Hyper(_NOT_NEGATIVE))
_L2 = Parameter("l2_regularization_strength", 0.0, Hyper(_NOT_NEGATIVE))
_L2_SHRINKAGE = Parameter(_SHRINKAGE, 0.0, _NOT_NEGATIVE)
_BETA = Parameter("beta", 0.0, HYPER)

LEGACY = Description(
    name="Ftrl",
    parameters=(LEARNING_RATE, _POWER, exact(_INITIAL), _L1, _L2, _L2_SHRINKAGE, _BETA),
    slots=(Slot("accumulator", initial="initial_accumulator_value"), Slot("linear")),
    update=_update("rows"),
    coefficients=_coefficients,
    config=(
        "learning_rate",
        "decay",
        "initial_accumulator_value",
        "learning_rate_power",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "beta",
        _SHRINKAGE,
    ),
    options=(_SHRINKAGE,),
    name_before=_SHRINKAGE,
    interleaved=("accumulator", "linear"),
)
CURRENT = replace(
    LEGACY,
    parameters=(
        LEARNING_RATE,
        exact(_POWER),
        _INITIAL,
        *map(exact, (_L1, _L2, _L2_SHRINKAGE, _BETA)),
    ),
    update=_update("whole"),
    config=(
        "learning_rate",
        "learning_rate_power",
        "initial_accumulator_value",
        "l1_regularization_strength",
        "l2_regularization_strength",
        _SHRINKAGE,
        "beta",
    ),
    name_before=None,
    needs_dense_shape=True,
)
