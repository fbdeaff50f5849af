# SPDX-License-Identifier: Apache-2.0
"""Adagrad."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import adagrad
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.legacy._described import Described
from slotwise.optimizers.legacy._made import COMMON


@_registry.register("legacy")
class Adagrad(Described):
    """Adagrad: steps scaled by the root of the sum of squared gradients.

        accumulator += grad^2
        var         -= learning_rate * grad / (sqrt(accumulator) + epsilon)

    Args:
        {{learning_rate}}
        initial_accumulator_value: what the accumulators begin with, at least 0.
        epsilon: keeps the denominator from 0; 0 and None mean 1e-7.
        {{common}}

    Slots:
        ``accumulator``.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.legacy.Adagrad(1.0, initial_accumulator_value=0.0)
        >>> var = slotwise.Variable(10.0)
        >>> _ = opt.minimize(lambda: (var**2) / 2.0, [var])
        >>> round(float(var), 6)                             # the first step has unit length
        9.0

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011.
    """

    description = adagrad.LEGACY
    __init__ = constructor(adagrad.LEGACY, COMMON)
