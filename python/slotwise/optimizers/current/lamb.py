# SPDX-License-Identifier: Apache-2.0
"""Lamb."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import lamb
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
class Lamb(Described):
    """Lamb: Adam with steps as long as the variable is large, for large batches.

        t         = iterations + 1
        m        += (grad - m) * (1 - beta_1)
        v        += (grad^2 - v) * (1 - beta_2)
        direction = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)
        var      -= learning_rate * |var| / |direction| * direction

    where |x| is the norm of the whole variable; where one of the two is 0, their quotient counts as
    1. This is Keras 3's: weights decay before the update, as in the other optimizers; in the paper,
    the decay is part of the direction (`slotwise.raw_ops.ApplyLamb` has it so).

    Args:
        {{learning_rate}}
        beta_1: decay of m.
        beta_2: decay of v.
        epsilon: keeps the denominator from 0.
        weight_decay: how fast weights decay, as in `Optimizer`; None, the default, for not at all.
        {{common}}

    Slots:
        ``m``, ``v``.

    {{raises}}

    Example:
        >>> import numpy as np, slotwise
        >>> opt = slotwise.optimizers.Lamb(learning_rate=0.1)
        >>> var = slotwise.Variable(np.array([3.0, 4.0]))
        >>> _ = opt.apply_gradients([(np.array([1.0, 0.0]), var)])
        >>> var.numpy().round(5)                             # by 0.1 * |var|
        array([2.5, 4. ])

    Source: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes",
        2020.
    """

    description = lamb.CURRENT
    __init__ = constructor(lamb.CURRENT, COMMON)
