"""Lamb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slotwise.optimizers._descriptions import lamb
from slotwise.optimizers._gradients import Pair
from slotwise.optimizers._plan import Plan
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import COMMON, Described


class Lamb(Described):
    """Lamb: Adam with steps as long as the variable is large, for large batches.

        t         = iterations + 1
        m        += (grad - m) * (1 - beta_1)
        v        += (grad^2 - v) * (1 - beta_2)
        direction = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)
                    + weight_decay * var
        var      -= learning_rate * |var| / |direction| * direction

    where |x| is the norm of the whole variable; where one of the two is 0, their quotient counts as
    1. Keras has no such class; arguments and state are as if it had.

    Args:
        learning_rate: a number, a schedule, or a function that returns a number, called once.
        weight_decay: the variable's share in the direction; None for none. It takes the place of
            the decay that other optimizers have before the update.
        beta_1: decay of m.
        beta_2: decay of v.
        epsilon: keeps the denominator from 0.
        clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            jit_compile, kwargs: see `Optimizer`.
        name: what errors call the optimizer.
        sparse: ``"keras"``; steps depend on the whole variable.
        sparse_decay: ``"whole"``.

    Slots:
        ``m``, ``v``.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> import numpy as np, slotwise
        >>> opt = slotwise.optimizers.Lamb(learning_rate=0.1, weight_decay=0.0)
        >>> var = slotwise.Variable(np.array([3.0, 4.0]))
        >>> _ = opt.apply_gradients([(np.array([1.0, 0.0]), var)])
        >>> var.numpy().round(5)                             # by 0.1 * |var|
        array([2.5, 4. ])

    Source: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes",
        2020.
    """

    description = lamb.CURRENT
    __init__ = constructor(lamb.CURRENT, COMMON)

    def _decay_before(self) -> Any:
        return None

    @property
    def _decay_in_direction(self) -> Any:
        return self._of_part

    def _split(self, plan: Plan, pairs: list[Pair]) -> Sequence[tuple[Any, Sequence[int]]]:
        """By whether variables decay."""
        parts = []
        for decays, weight_decay in ((True, self.weight_decay or 0.0), (False, 0.0)):
            part = [i for i, flag in enumerate(plan.decays) if flag == decays]
            if part:
                parts.append((weight_decay, part))
        return parts
