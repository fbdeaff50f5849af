# SPDX-License-Identifier: Apache-2.0
"""AdaBelief."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import adabelief
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
class AdaBelief(Described):
    """AdaBelief: Adam scaled by how far gradients are from their running mean.

        t    = iterations + 1
        m   += (grad - m) * (1 - beta_1)
        s   += ((grad - m)^2 - s) * (1 - beta_2) + epsilon
        var -= learning_rate * m / (1 - beta_1^t) / (sqrt(s / (1 - beta_2^t)) + epsilon)

    Keras has no such class; arguments and state are as if it had.

    Args:
        {{learning_rate}}
        beta_1: decay of m.
        beta_2: decay of s.
        epsilon: added to s, and to its root.
        {{common}}

    Slots:
        ``m``, ``s``.

    {{raises}}

    Example:
        >>> import numpy as np, slotwise
        >>> opt = slotwise.optimizers.AdaBelief(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> _ = opt.apply_gradients([(np.float32(1.0), var)])
        >>> round(float(var), 4)                             # 0.1 / 0.9: grad - m is 0.9
        9.8889

    Source: Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed
        gradients", 2020.
    """

    description = adabelief.CURRENT
    __init__ = constructor(adabelief.CURRENT, COMMON)
