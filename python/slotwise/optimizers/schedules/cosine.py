# SPDX-License-Identifier: Apache-2.0
"""Cosine decay, with a warm-up or with restarts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from slotwise.optimizers._kinds import NOT_NEGATIVE, NUMBER, OPTIONAL_NUMBER, POSITIVE, TEXT, Kind
from slotwise.optimizers.schedules.base import ConfiguredSchedule, Float, number


class CosineDecay(ConfiguredSchedule):
    """A rate that falls along half a cosine, after an optional linear warm-up.

        c(x) = (1 - alpha) * (1 + cos(pi * x)) / 2 + alpha
        rate = initial_learning_rate * c(min(step, decay_steps) / decay_steps)

    With ``warmup_target``, it first rises to that, then falls from there:

        s    = min(step, warmup_steps + decay_steps)
        rate = initial_learning_rate
               + (warmup_target - initial_learning_rate) * s / warmup_steps    if s < warmup_steps
        rate = warmup_target * c((s - warmup_steps) / decay_steps)             else

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: steps from the largest rate to the final one, above 0.
        alpha: the final rate, as a fraction of the largest.
        name: kept in the config.
        warmup_target: the rate after the warm-up; None for no warm-up.
        warmup_steps: steps of the warm-up; ignored without a target.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> from slotwise.optimizers import schedules
        >>> rate = schedules.CosineDecay(0.0, 100, warmup_target=1.0, warmup_steps=10)
        >>> float(rate(5)), float(rate(10)), float(rate(110))
        (0.5, 1.0, 0.0)

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2016.
    """

    _kinds: ClassVar[Mapping[str, Kind]] = {
        "initial_learning_rate": NUMBER,
        "decay_steps": POSITIVE,
        "alpha": NUMBER,
        "name": TEXT,
        "warmup_target": OPTIONAL_NUMBER,
        "warmup_steps": NOT_NEGATIVE,
    }

    def __init__(
        self,
        initial_learning_rate: Any,
        decay_steps: Any,
        alpha: Any = 0.0,
        name: str | None = None,
        warmup_target: Any = None,
        warmup_steps: Any = 0,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Float:
        initial = number(self.initial_learning_rate)
        dtype = type(initial)
        at, steps = self._at(step, dtype), dtype(self.decay_steps)
        if self.warmup_target is None:
            return initial * self._fall(min(at, steps) / steps)
        target, warmup = dtype(self.warmup_target), dtype(self.warmup_steps)
        at = min(at, steps + warmup)
        if at < warmup:
            return (target - initial) * (at / warmup) + initial
        return target * self._fall((at - warmup) / steps)

    def _fall(self, x: Float) -> Float:
        """c(x)."""
        dtype = type(x)
        alpha = dtype(self.alpha)
        cosine = dtype(0.5) * (1 + np.cos(dtype(math.pi) * x))
        return (1 - alpha) * cosine + alpha


class CosineDecayRestarts(ConfiguredSchedule):
    """A rate that falls along half a cosine again and again.

    Period k has first_decay_steps * t_mul^k steps. In it, with x the part of it that is over,

        rate = initial_learning_rate
               * ((1 - alpha) * m_mul^k * (1 + cos(pi * x)) / 2 + alpha)

    Args:
        initial_learning_rate: the rate at step 0.
        first_decay_steps: steps of the first period, above 0.
        t_mul: how much longer each period is than the one before, above 0.
        m_mul: the rate at the start of a period, as a multiple of that of the one before.
        alpha: the final rate, as a fraction of the first.
        name: kept in the config.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> from slotwise.optimizers import schedules
        >>> rate = schedules.CosineDecayRestarts(1.0, 10, t_mul=2.0, m_mul=0.5)
        >>> float(rate(0)), float(rate(10)), float(rate(30))
        (1.0, 0.5, 0.25)

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2016.
    """

    _kinds: ClassVar[Mapping[str, Kind]] = {
        "initial_learning_rate": NUMBER,
        "first_decay_steps": POSITIVE,
        "t_mul": POSITIVE,
        "m_mul": NUMBER,
        "alpha": NUMBER,
        "name": TEXT,
    }

    def __init__(
        self,
        initial_learning_rate: Any,
        first_decay_steps: Any,
        t_mul: Any = 2.0,
        m_mul: Any = 1.0,
        alpha: Any = 0.0,
        name: str | None = None,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step: Any) -> Float:
        initial = number(self.initial_learning_rate)
        dtype = type(initial)
        t_mul, alpha = dtype(self.t_mul), dtype(self.alpha)
        done = self._at(step, dtype) / dtype(self.first_decay_steps)
        if t_mul == 1:
            period = np.floor(done)
            x = done - period
        else:
            with np.errstate(all="ignore"):  # t_mul < 1: the periods come to an end
                period = np.floor(np.log(1 - done * (1 - t_mul)) / np.log(t_mul))
            length = t_mul**period
            x = (done - (1 - length) / (1 - t_mul)) / length
        height = dtype(self.m_mul) ** period
        cosine = dtype(0.5) * height * (1 + np.cos(dtype(math.pi) * x))
        return initial * ((1 - alpha) * cosine + alpha)
