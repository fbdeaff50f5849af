# SPDX-License-Identifier: Apache-2.0
"""Exponential decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from slotwise.optimizers._kinds import FLAG, NUMBER, POSITIVE, TEXT, Kind
from slotwise.optimizers.schedules.base import ConfiguredSchedule, Float, number


class ExponentialDecay(ConfiguredSchedule):
    """A rate that decays by a factor every so many steps.

        p    = step / decay_steps, rounded down if staircase
        rate = initial_learning_rate * decay_rate^p

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: steps for one factor, above 0.
        decay_rate: the factor.
        staircase: whether to decay at whole multiples of ``decay_steps`` only.
        name: kept in the config.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> from slotwise.optimizers import schedules
        >>> rate = schedules.ExponentialDecay(0.5, decay_steps=10, decay_rate=0.25)
        >>> float(rate(0)), float(rate(5)), float(rate(10))
        (0.5, 0.25, 0.125)

    Source: Keras, ``keras.optimizers.schedules.ExponentialDecay``.
    """

    _kinds: ClassVar[Mapping[str, Kind]] = {
        "initial_learning_rate": NUMBER,
        "decay_steps": POSITIVE,
        "decay_rate": NUMBER,
        "staircase": FLAG,
        "name": TEXT,
    }

    def __init__(
        self,
        initial_learning_rate: Any,
        decay_steps: Any,
        decay_rate: Any,
        staircase: bool = False,
        name: str | None = None,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: Any) -> Float:
        initial = number(self.initial_learning_rate)
        dtype = type(initial)
        return initial * dtype(self.decay_rate) ** self._periods(step, dtype)

    def _periods(self, step: Any, dtype: type[Float]) -> Float:
        periods = self._at(step, dtype) / dtype(self.decay_steps)
        return np.floor(periods) if self.staircase else periods
