# SPDX-License-Identifier: Apache-2.0
"""Adadelta."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import adadelta
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
@_registry.also_called("experimentaladadelta")
class Adadelta(Described):
    """Adadelta: steps scaled by the root mean square of past steps over that of past gradients.

        accumulated_grad      = rho * accumulated_grad + (1 - rho) * grad^2
        step = sqrt(accumulated_delta_var + epsilon) / sqrt(accumulated_grad + epsilon) * grad
        accumulated_delta_var = rho * accumulated_delta_var + (1 - rho) * step^2
        var                  -= learning_rate * step

    Args:
        {{learning_rate}}
        rho: decay of both running means.
        epsilon: added under both roots.
        {{common}}

    Slots:
        ``accumulated_grad``, ``accumulated_delta_var``.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.Adadelta(learning_rate=1.0, rho=0.75, epsilon=1.0)
        >>> var = slotwise.Variable(2.0)
        >>> opt.minimize(lambda: (var**2) / 2.0, [var])
        >>> round(float(var), 6)                             # 2 - 2 / sqrt(2)
        0.585786

    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

    description = adadelta.CURRENT
    __init__ = constructor(adadelta.CURRENT, COMMON)
