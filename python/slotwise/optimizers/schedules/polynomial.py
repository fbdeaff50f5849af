# SPDX-License-Identifier: Apache-2.0
"""Polynomial decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from slotwise.optimizers._kinds import FLAG, NUMBER, POSITIVE, TEXT, Kind
from slotwise.optimizers.schedules.base import ConfiguredSchedule, Float, number


class PolynomialDecay(ConfiguredSchedule):
    """A rate that falls to a final one along a polynomial.

        s    = min(step, decay_steps)
        rate = (initial_learning_rate - end_learning_rate) * (1 - s / decay_steps)^power
               + end_learning_rate

    With ``cycle``, s is the step, and ``decay_steps`` is multiplied by the number of cycles begun,
    ceil(step / decay_steps).

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: steps to the final rate, above 0.
        end_learning_rate: the final rate.
        power: of the polynomial; 1 is linear.
        cycle: whether to start anew beyond ``decay_steps``.
        name: kept in the config.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> from slotwise.optimizers import schedules
        >>> rate = schedules.PolynomialDecay(1.0, decay_steps=100, end_learning_rate=0.5)
        >>> float(rate(0)), float(rate(50)), float(rate(1000))
        (1.0, 0.75, 0.5)

    Source: Keras, ``keras.optimizers.schedules.PolynomialDecay``.
    """

    _kinds: ClassVar[Mapping[str, Kind]] = {
        "initial_learning_rate": NUMBER,
        "decay_steps": POSITIVE,
        "end_learning_rate": NUMBER,
        "power": NUMBER,
        "cycle": FLAG,
        "name": TEXT,
    }

    def __init__(
        self,
        initial_learning_rate: Any,
        decay_steps: Any,
        end_learning_rate: Any = 0.0001,
        power: Any = 1.0,
        cycle: bool = False,
        name: str | None = None,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step: Any) -> Float:
        initial = number(self.initial_learning_rate)
        dtype = type(initial)
        end, steps = dtype(self.end_learning_rate), dtype(self.decay_steps)
        at = self._at(step, dtype)
        if self.cycle:
            steps = steps * (dtype(1) if at == 0 else np.ceil(at / steps))
        else:
            at = min(at, steps)
        return (initial - end) * (1 - at / steps) ** dtype(self.power) + end
