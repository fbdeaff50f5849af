# SPDX-License-Identifier: Apache-2.0
"""AdamW."""

from __future__ import annotations

from typing import Any

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import adam
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
class AdamW(Described):
    """Adam with a weight decay that does not pass through its running means.

        var -= var * weight_decay * learning_rate
        t    = iterations + 1
        m   += (grad - m) * (1 - beta_1)
        v   += (grad^2 - v) * (1 - beta_2)
        lr_t = learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t)
        var -= lr_t * m / (sqrt(v) + epsilon)                    or, with amsgrad,

        vhat = max(vhat, v)
        var -= lr_t * m / (sqrt(vhat) + epsilon)

    Args:
        {{learning_rate}}
        weight_decay: how fast weights decay; not None.
        beta_1: decay of m.
        beta_2: decay of v.
        epsilon: keeps the denominator from 0.
        amsgrad: whether to scale by the largest v so far.
        {{common}}

    Slots:
        ``m``, ``v``, and ``vhat`` with amsgrad.

    {{raises}}

    Example:
        >>> import numpy as np, slotwise
        >>> opt = slotwise.optimizers.AdamW(learning_rate=0.5, weight_decay=0.5)
        >>> var = slotwise.Variable(1.0)
        >>> _ = opt.apply_gradients([(np.float32(0), var)])
        >>> float(var)                                       # 1 - 1 * 0.5 * 0.5
        0.75

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    description = adam.ADAMW
    __init__ = constructor(adam.ADAMW, COMMON)

    def _set_up(self, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        if arguments["weight_decay"] is None:
            raise ValueError(
                "Missing value of `weight_decay` which is required and must be a float value."
            )
        super()._set_up(arguments, kwargs)
