# SPDX-License-Identifier: Apache-2.0
"""Gradient descent, with momentum."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import sgd
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.legacy._described import Described
from slotwise.optimizers.legacy._made import COMMON


@_registry.register("legacy")
class SGD(Described):
    """Gradient descent, with momentum.

        var -= learning_rate * grad                              without momentum

        velocity = momentum * velocity - learning_rate * grad
        var     += velocity                                      or, with nesterov,
        var     += momentum * velocity - learning_rate * grad

    Args:
        {{learning_rate}}
        momentum: in [0, 1]; 0: no momentum. Whether there is any is settled by the constructor.
        nesterov: whether to look ahead.
        {{common}}

    Slots:
        ``momentum``: the velocity.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.legacy.SGD(learning_rate=0.1)
        >>> var = slotwise.Variable(1.0)
        >>> loss = lambda: (var**2) / 2.0                    # d(loss) / d(var) = var
        >>> _ = opt.minimize(loss, [var])
        >>> round(float(var), 6)                             # step: -learning_rate * grad
        0.9

        >>> opt = slotwise.optimizers.legacy.SGD(learning_rate=0.1, momentum=0.9)
        >>> var = slotwise.Variable(1.0)
        >>> before = float(var)
        >>> _ = opt.minimize(lambda: (var**2) / 2.0, [var])
        >>> middle = float(var)
        >>> round(before - middle, 6)                        # first step: learning_rate * grad
        0.1
        >>> _ = opt.minimize(lambda: (var**2) / 2.0, [var])
        >>> round(middle - float(var), 6)                    # the second one is larger
        0.18

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning",
        2013.
    """

    description = sgd.LEGACY
    __init__ = constructor(sgd.LEGACY, COMMON)
