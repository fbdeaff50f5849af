# SPDX-License-Identifier: Apache-2.0
"""Adafactor."""

from __future__ import annotations

from typing import Any

from slotwise.optimizers._description import (
    LEARNING_RATE,
    Description,
    Parameter,
    Shape,
    Slot,
    Update,
    exact,
)
from slotwise.optimizers._kinds import FLAG, HYPER, NOT_NEGATIVE, POSITIVE, Hyper
from slotwise.optimizers._numbers import Float, Numbers, power


def _without_last(shape: Shape) -> Shape | None:
    return shape[:-1] if len(shape) >= 2 else None


def _without_next_to_last(shape: Shape) -> Shape | None:
    return (*shape[:-2], shape[-1]) if len(shape) >= 2 else None


def _rate(x: Numbers) -> Float:
    # Keras caps the rate whether relative_step is set or not.
    return min(x.lr, power(x.type(x.step), -0.5))


def _coefficients(x: Numbers) -> dict[str, Any]:
    return {
        "lr": _rate(x),
        "beta2": 1 - power(x.type(x.step), x["beta_2_decay"]),
        "epsilon_1": x["epsilon_1"],
        "epsilon_2": x["epsilon_2"],
        "clip_threshold": x["clip_threshold"],
    }


_ROLES = ("r", "c", "v")
_EPSILON = Hyper(NOT_NEGATIVE)

CURRENT = Description(
    name="Adafactor",
    parameters=(
        LEARNING_RATE,
        exact(Parameter("beta_2_decay", -0.8, HYPER)),
        exact(Parameter("epsilon_1", 1e-30, _EPSILON)),
        Parameter("epsilon_2", 1e-3, _EPSILON),
        exact(Parameter("clip_threshold", 1.0, Hyper(POSITIVE))),
        Parameter("relative_step", True, FLAG),
    ),
    slots=(Slot("r", shape=_without_last), Slot("c", shape=_without_next_to_last), Slot("v")),
    update=lambda on: Update("Adafactor", _ROLES, "whole"),
    coefficients=_coefficients,
    config=(
        "learning_rate",
        "beta_2_decay",
        "epsilon_1",
        "epsilon_2",
        "clip_threshold",
        "relative_step",
    ),
    interleaved=_ROLES,
    needs_dense_shape=True,
    is_whole=True,
)
