# SPDX-License-Identifier: Apache-2.0
"""Inverse time decay."""

from __future__ import annotations

from typing import Any

from slotwise.optimizers.schedules.base import Float, number
from slotwise.optimizers.schedules.exponential import ExponentialDecay


class InverseTimeDecay(ExponentialDecay):
    """A rate that decays with the inverse of the step.

        p    = step / decay_steps, rounded down if staircase
        rate = initial_learning_rate / (1 + decay_rate * p)

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: steps for one unit of p, above 0.
        decay_rate: how fast it decays.
        staircase: whether to decay at whole multiples of ``decay_steps`` only.
        name: kept in the config.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> from slotwise.optimizers import schedules
        >>> rate = schedules.InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0)
        >>> float(rate(0)), float(rate(10)), float(rate(30))
        (0.5, 0.25, 0.125)

    Source: Keras, ``keras.optimizers.schedules.InverseTimeDecay``.
    """

    def __call__(self, step: Any) -> Float:
        initial = number(self.initial_learning_rate)
        dtype = type(initial)
        return initial / (1 + dtype(self.decay_rate) * self._periods(step, dtype))
