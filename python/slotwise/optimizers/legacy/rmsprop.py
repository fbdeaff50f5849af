# SPDX-License-Identifier: Apache-2.0
"""RMSprop."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import rmsprop
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.legacy._described import Described
from slotwise.optimizers.legacy._made import COMMON


@_registry.register("legacy")
class RMSprop(Described):
    """RMSprop: steps scaled by the root mean square of recent gradients.

        rms  = rho * rms + (1 - rho) * grad^2
        mg   = rho * mg + (1 - rho) * grad                       with centered
        d    = rms                                               or, with centered,
        d    = rms - mg^2
        var -= learning_rate * grad / (sqrt(d) + epsilon)        without momentum, else

        momentum_slot = momentum * momentum_slot + learning_rate * grad / sqrt(d + epsilon)
        var          -= momentum_slot

    Args:
        {{learning_rate}}
        rho: decay of the running means.
        momentum: in [0, 1]; 0: no momentum. Whether there is any is settled by the constructor.
        epsilon: keeps the denominator from 0; 0 and None mean 1e-7.
        centered: whether to scale by the variance of gradients.
        {{common}}

    Slots:
        ``rms``, ``momentum`` with momentum, ``mg`` with centered.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.legacy.RMSprop(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> loss = lambda: (var**2) / 2.0                    # d(loss) / d(var) = var
        >>> _ = opt.minimize(loss, [var])
        >>> round(float(var), 6)
        9.683772

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture 6e,
        2012.
    """

    description = rmsprop.LEGACY
    __init__ = constructor(rmsprop.LEGACY, COMMON)
