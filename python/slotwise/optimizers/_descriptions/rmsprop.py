# SPDX-License-Identifier: Apache-2.0
"""RMSprop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slotwise.optimizers._description import (
    DECAYING,
    EPSILON,
    LEARNING_RATE,
    MOMENTUM,
    MOMENTUM_IN_RANGE,
    Description,
    Options,
    Parameter,
    Scope,
    Slot,
    Update,
    exact,
)
from slotwise.optimizers._kinds import FLAG
from slotwise.optimizers._numbers import Numbers


def _update(with_momentum: Scope, epsilon_in_root: bool) -> Callable[[Options], Update]:
    def update(on: Options) -> Update:
        if on["momentum"]:
            if on["centered"]:
                return Update("CenteredRMSProp", ("mean", "square", "momentum"), with_momentum)
            return Update("RMSProp", ("square", "momentum"), with_momentum)
        if on["centered"]:
            roles = ("square", "mean")
            return Update("KerasCenteredRMSProp", roles, "slots", (epsilon_in_root,))
        return Update("KerasRMSProp", ("square",), "slots", (epsilon_in_root,))

    return update


def _slots(square: str, mean: str) -> tuple[Slot, ...]:
    return (
        Slot("square", square),
        Slot("momentum", needs="momentum"),
        Slot("mean", mean, needs="centered"),
    )


def _coefficients(x: Numbers) -> dict[str, Any]:
    return {"lr": x.lr, **{name: x[name] for name in ("rho", "momentum", "epsilon")}}


_RHO = Parameter("rho", 0.9, DECAYING)
_CENTERED = Parameter("centered", False, FLAG)

LEGACY = Description(
    name="RMSprop",
    parameters=(LEARNING_RATE, _RHO, MOMENTUM_IN_RANGE, EPSILON, _CENTERED),
    slots=_slots("rms", "mg"),
    update=_update("rows", epsilon_in_root=False),
    coefficients=_coefficients,
    config=("learning_rate", "decay", "rho", "momentum", "epsilon", "centered"),
    options=("momentum", "centered"),
    optional_iterations=True,
    variants=({}, {"momentum": 0.9}),
)
CURRENT = replace(
    LEGACY,
    parameters=(LEARNING_RATE, exact(_RHO), exact(MOMENTUM), EPSILON, _CENTERED),
    slots=_slots("velocity", "average_gradient"),
    update=_update("whole", epsilon_in_root=True),
    config=("learning_rate", "rho", "momentum", "epsilon", "centered"),
    defaults=(("ema_overwrite_frequency", 100),),
)
