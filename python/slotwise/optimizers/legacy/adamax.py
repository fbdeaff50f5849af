# SPDX-License-Identifier: Apache-2.0
"""Adamax."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import adamax
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.legacy._described import Described
from slotwise.optimizers.legacy._made import COMMON


@_registry.register("legacy")
class Adamax(Described):
    """Adamax: Adam scaled by the largest recent gradient.

        t    = iterations + 1
        m   += (grad - m) * (1 - beta_1)
        v    = max(beta_2 * v, |grad|)
        var -= learning_rate / (1 - beta_1^t) * m / (v + epsilon)

    Args:
        {{learning_rate}}
        beta_1: decay of m.
        beta_2: decay of v.
        epsilon: keeps the denominator from 0; 0 and None mean 1e-7.
        {{common}}

    Slots:
        ``m``, ``v``.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.legacy.Adamax(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> _ = opt.minimize(lambda: (var**2) / 2.0, [var])
        >>> round(float(var), 6)                             # the first step: -learning_rate
        9.9

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014.
    """

    description = adamax.LEGACY
    __init__ = constructor(adamax.LEGACY, COMMON)
