# SPDX-License-Identifier: Apache-2.0
"""RMSprop."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import rmsprop
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
class RMSprop(Described):
    """RMSprop: steps scaled by the root mean square of recent gradients.

        velocity         = rho * velocity + (1 - rho) * grad^2
        average_gradient = rho * average_gradient + (1 - rho) * grad   with centered
        d    = velocity                                          or, with centered,
        d    = velocity - average_gradient^2
        var -= learning_rate * grad / sqrt(d + epsilon)          without momentum, else

        momentum_slot = momentum * momentum_slot + learning_rate * grad / sqrt(d + epsilon)
        var          -= momentum_slot

    Args:
        {{learning_rate}}
        rho: decay of the running means.
        momentum: 0: no momentum; not to be switched on once the optimizer is built.
        epsilon: added under the root.
        centered: whether to scale by the variance of gradients.
        {{common}}

    Slots:
        ``velocity``, ``momentum`` with momentum, ``average_gradient`` with centered.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.RMSprop(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> opt.minimize(lambda: (var**2) / 2.0, [var])          # d(loss) / d(var) = var
        >>> round(float(var), 6)
        9.683772

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture 6e,
        2012.
    """

    description = rmsprop.CURRENT
    __init__ = constructor(rmsprop.CURRENT, COMMON)
