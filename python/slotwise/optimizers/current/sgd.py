# SPDX-License-Identifier: Apache-2.0
"""Gradient descent, with momentum."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import sgd
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._keras3 import Weight
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
@_registry.also_called("experimentalsgd")
class SGD(Described):
    """Gradient descent, with momentum.

        m    = momentum * m - learning_rate * grad
        var += m                                                 or, with nesterov,
        var += momentum * m - learning_rate * grad

    Args:
        {{learning_rate}}
        momentum: in [0, 1].
        nesterov: whether to look ahead.
        {{common}}

    Slots:
        ``m``: the velocity, also without momentum.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.SGD(learning_rate=0.1, momentum=0.9)
        >>> var = slotwise.Variable(1.0)
        >>> for step in range(2):
        ...     opt.minimize(lambda: (var**2) / 2.0, [var])
        ...     print(round(float(var), 6))
        0.9
        0.72

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning",
        2013.
    """

    description = sgd.CURRENT
    __init__ = constructor(sgd.CURRENT, COMMON)

    def _slots_in_keras(self, keras: int) -> list[Weight]:
        """Keras 3 has none without momentum."""
        is_there = keras == 2 or self._options()["momentum"]
        return super()._slots_in_keras(keras) if is_there else []
