# SPDX-License-Identifier: Apache-2.0
"""Lion."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import lion
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
class Lion(Described):
    """Lion: steps of one length, by the sign of a running mean.

        var -= learning_rate * sign(beta_1 * m + (1 - beta_1) * grad)
        m    = beta_2 * m + (1 - beta_2) * grad

    Args:
        {{learning_rate}}
        beta_1: weight of m in a step, above 0 and at most 1.
        beta_2: decay of m.
        {{common}}

    Slots:
        ``m``.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.Lion(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> opt.minimize(lambda: (var**2) / 2.0, [var])          # d(loss) / d(var) = var
        >>> round(float(var), 6)
        9.9

    Source: Chen et al., "Symbolic discovery of optimization algorithms", 2023.
    """

    description = lion.CURRENT
    __init__ = constructor(lion.CURRENT, COMMON)
