# SPDX-License-Identifier: Apache-2.0
"""Gradient descent, with momentum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slotwise.optimizers._description import (
    LEARNING_RATE,
    MOMENTUM_IN_RANGE,
    Description,
    Options,
    Parameter,
    Scope,
    Slot,
    Update,
)
from slotwise.optimizers._kinds import FLAG
from slotwise.optimizers._numbers import Numbers


def _with_momentum(on: Options, scope: Scope) -> Update:
    return Update("KerasMomentum", ("momentum",), scope, (on["nesterov"],))


def _legacy_update(on: Options) -> Update:
    return _with_momentum(on, "rows") if on["momentum"] else Update("GradientDescent", (), "rows")


def _coefficients(x: Numbers) -> dict[str, Any]:
    lr = x.lr
    return {"alpha": lr, "lr": lr, "momentum": x["momentum"]}


LEGACY = Description(
    name="SGD",
    parameters=(
        replace(LEARNING_RATE, default=0.01),
        MOMENTUM_IN_RANGE,
        Parameter("nesterov", False, FLAG),
    ),
    slots=(Slot("momentum", needs="momentum"),),
    update=_legacy_update,
    coefficients=_coefficients,
    config=("learning_rate", "decay", "momentum", "nesterov"),
    options=("momentum", "nesterov"),
    variants=({"momentum": 0.0}, {"momentum": 0.9}),
)
CURRENT = replace(
    LEGACY,
    slots=(Slot("momentum", "m"),),
    update=lambda on: _with_momentum(on, "whole"),
    config=("learning_rate", "momentum", "nesterov"),
)
