# SPDX-License-Identifier: Apache-2.0
"""Adam."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import adam
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
@_registry.also_called("experimentaladam")
class Adam(Described):
    """Adam: steps by running means of gradients, scaled by those of their squares.

        t    = iterations + 1
        m   += (grad - m) * (1 - beta_1)
        v   += (grad^2 - v) * (1 - beta_2)
        lr_t = learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t)
        var -= lr_t * m / (sqrt(v) + epsilon)                    or, with amsgrad,

        vhat = max(vhat, v)
        var -= lr_t * m / (sqrt(vhat) + epsilon)

    Args:
        {{learning_rate}}
        beta_1: decay of m.
        beta_2: decay of v.
        epsilon: keeps the denominator from 0.
        adaptive_epsilon: whether epsilon is multiplied by sqrt(1 - beta_2^t); not in the config.
        amsgrad: whether to scale by the largest v so far.
        {{common}}

    Slots:
        ``m``, ``v``, and ``vhat`` with amsgrad.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.Adam(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> opt.minimize(lambda: (var**2) / 2.0, [var])          # d(loss) / d(var) = var
        >>> round(float(var), 5)                             # the first step: -learning_rate
        9.9

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014; Reddi et al., "On the
        convergence of Adam and beyond", 2018.
    """

    description = adam.CURRENT
    __init__ = constructor(adam.CURRENT, COMMON)
