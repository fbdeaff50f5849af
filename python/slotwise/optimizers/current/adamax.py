# SPDX-License-Identifier: Apache-2.0
"""Adamax."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import adamax
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
class Adamax(Described):
    """Adamax: Adam scaled by the largest recent gradient.

        t    = iterations + 1
        m   += (grad - m) * (1 - beta_1)
        u    = max(beta_2 * u, |grad|)
        var -= learning_rate / (1 - beta_1^t) * m / (u + epsilon)

    Args:
        {{learning_rate}}
        beta_1: decay of m.
        beta_2: decay of u.
        epsilon: keeps the denominator from 0.
        {{common}}

    Slots:
        ``m``, ``u``.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.Adamax(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> opt.minimize(lambda: (var**2) / 2.0, [var])          # d(loss) / d(var) = var
        >>> round(float(var), 5)                             # the first step: -learning_rate
        9.9

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014.
    """

    description = adamax.CURRENT
    __init__ = constructor(adamax.CURRENT, COMMON)
