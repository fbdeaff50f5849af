"""Nadam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slotwise.optimizers._description import (
    BETAS,
    EPSILON,
    LEARNING_RATE,
    Description,
    Float,
    Numbers,
    Parameter,
    Scope,
    Slot,
    Update,
    power,
)
from slotwise.optimizers._kinds import NOT_NEGATIVE, NUMBER, Hyper
from slotwise.optimizers._numbers import rounded


def scheduled_beta_1(x: Numbers, step: int) -> Float:
    """beta_1 as scheduled for a step: beta_1 * (1 - 0.5 * 0.96^(pace * step))."""
    exponent = x.type(x.optimizer._pace) * x.type(step)
    warm = x.type(0.5) * power(rounded(0.96, x.type), exponent)
    return x["beta_1"] * (1 - warm)


def _update(scope: Scope) -> Callable[[Any], Update]:
    return lambda opt: Update("Nadam", ("m", "v"), scope)


def _coefficients(x: Numbers) -> dict[str, Any]:
    return {
        "beta2_power": x.power("beta_2"),
        "lr": x.lr,
        "beta1": x["beta_1"],
        "beta2": x["beta_2"],
        "epsilon": x["epsilon"],
        "momentum": scheduled_beta_1(x, x.step),
        "momentum_next": scheduled_beta_1(x, x.step + 1),
        "momentum_product": x.optimizer._product(x),
    }


_NO_SCHEDULE = (
    "The Nadam optimizer does not support slotwise.optimizers.schedules.LearningRateSchedules as "
    "the learning rate."
)
_PARAMETERS = (LEARNING_RATE, *BETAS, EPSILON)

LEGACY = Description(
    name="Nadam",
    parameters=(
        replace(LEARNING_RATE, kind=Hyper(NUMBER, is_rate=True, no_schedule=_NO_SCHEDULE)),
        *_PARAMETERS[1:],
        Parameter("schedule_decay", 0.004, NOT_NEGATIVE, through_float32=False, keyword_only=True),
    ),
    slots=(Slot("m"), Slot("v")),
    update=_update("slots"),
    coefficients=_coefficients,
    config=("learning_rate", "decay", "beta_1", "beta_2", "epsilon"),
)
CURRENT = replace(
    LEGACY,
    parameters=_PARAMETERS,
    update=_update("whole"),
    config=("learning_rate", "beta_1", "beta_2", "epsilon"),
    interleaved=("m", "v"),
    needs_dense_shape=True,
)
