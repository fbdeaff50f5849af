# SPDX-License-Identifier: Apache-2.0
"""Adadelta."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import adadelta
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.legacy._described import Described
from slotwise.optimizers.legacy._made import COMMON


@_registry.register("legacy")
class Adadelta(Described):
    """Adadelta: steps scaled by the root mean square of past steps over that of past gradients.

        accum_grad = rho * accum_grad + (1 - rho) * grad^2
        step       = sqrt(accum_var + epsilon) / sqrt(accum_grad + epsilon) * grad
        var       -= learning_rate * step
        accum_var  = rho * accum_var + (1 - rho) * step^2

    Args:
        {{learning_rate}}
        rho: decay of both running means.
        epsilon: added under both roots; 0 and None mean 1e-7.
        {{common}}

    Slots:
        ``accum_grad``, ``accum_var``.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.legacy.Adadelta(learning_rate=1.0, rho=0.75, epsilon=1.0)
        >>> var = slotwise.Variable(2.0)
        >>> _ = opt.minimize(lambda: (var**2) / 2.0, [var])
        >>> round(float(var), 6)                             # 2 - 2 / sqrt(2)
        0.585786

    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

    description = adadelta.LEGACY
    __init__ = constructor(adadelta.LEGACY, COMMON)
