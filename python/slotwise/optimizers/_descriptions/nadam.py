# SPDX-License-Identifier: Apache-2.0
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
    Options,
    Parameter,
    Scope,
    Slot,
    Update,
)
from slotwise.optimizers._kinds import NOT_NEGATIVE, NUMBER, Hyper
from slotwise.optimizers._numbers import Float, Numbers, power, rounded


def _scheduled(x: Numbers, step: int, pace: Any) -> Float:
    """beta_1 as scheduled for a step: beta_1 * (1 - 0.5 * 0.96^(pace * step))."""
    exponent = x.type(pace) * x.type(step)
    warm = x.type(0.5) * power(rounded(0.96, x.type), exponent)
    return x["beta_1"] * (1 - warm)


def legacy_beta_1(x: Numbers, step: int) -> Float:
    return _scheduled(x, step, x["schedule_decay"])


def current_beta_1(x: Numbers, step: int) -> Float:
    return _scheduled(x, step, 1)


def legacy_product(x: Numbers) -> Float:
    """The product of all scheduled decays, with that of this step; the part is that without."""
    return x.type(x.part) * legacy_beta_1(x, x.step)


def _current_product(x: Numbers) -> Float:
    return x.type(x.part)


def _update(scope: Scope) -> Callable[[Options], Update]:
    return lambda on: Update("Nadam", ("m", "v"), scope)


def _coefficients(
    beta_1: Callable[[Numbers, int], Float], product: Callable[[Numbers], Float]
) -> Callable[[Numbers], dict[str, Any]]:
    return lambda x: {
        "beta2_power": x.power("beta_2"),
        "lr": x.lr,
        "beta1": x["beta_1"],
        "beta2": x["beta_2"],
        "epsilon": x["epsilon"],
        "momentum": beta_1(x, x.step),
        "momentum_next": beta_1(x, x.step + 1),
        "momentum_product": product(x),
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
    coefficients=_coefficients(legacy_beta_1, legacy_product),
    config=("learning_rate", "decay", "beta_1", "beta_2", "epsilon"),
)
CURRENT = replace(
    LEGACY,
    parameters=_PARAMETERS,
    update=_update("whole"),
    coefficients=_coefficients(current_beta_1, _current_product),
    config=("learning_rate", "beta_1", "beta_2", "epsilon"),
    interleaved=("m", "v"),
    needs_dense_shape=True,
)
