# SPDX-License-Identifier: Apache-2.0
"""RectifiedAdam."""

from __future__ import annotations

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import rectifiedadam
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._made import COMMON


@_registry.register("current", "radam")
class RectifiedAdam(Described):
    """RAdam: Adam that warms up by itself, Momentum until enough gradients were seen.

        t    = iterations + 1
        m   += (grad - m) * (1 - beta_1)
        v   += (grad^2 - v) * (1 - beta_2)
        inf  = 2 / (1 - beta_2) - 1
        sma  = inf - 2 * t * beta_2^t / (1 - beta_2^t)
        r    = sqrt((sma - 4) * (sma - 2) * inf / ((inf - 4) * (inf - 2) * sma))
        var -= (learning_rate * r * m / (1 - beta_1^t)
                / (sqrt(v / (1 - beta_2^t)) + epsilon))     if sma >= sma_threshold; otherwise
        var -= learning_rate * m / (1 - beta_1^t)

    Where r has no value, it is otherwise, too: with beta_2 up to 0.6, always. Keras has no such
    class; arguments are as in TensorFlow Addons, without its schedule (give one as
    `learning_rate`), and state is as if Keras had it. With ``epsilon=1e-8`` and
    ``adaptive_epsilon=False`` it is ``torch.optim.RAdam``.

    Args:
        {{learning_rate}}
        beta_1: decay of m.
        beta_2: decay of v.
        epsilon: keeps the denominator from 0.
        sma_threshold: the least sma at which steps are adaptive; at least 4.
        adaptive_epsilon: whether epsilon is multiplied by sqrt(1 - beta_2^t) where it is added to
            sqrt(v), as above. False, as in torch: it is added to sqrt(v) as it is.
        {{common}}

    Slots:
        ``m``, ``v``.

    {{raises}}

    Example:
        >>> import numpy as np, slotwise
        >>> opt = slotwise.optimizers.RectifiedAdam(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> _ = opt.apply_gradients([(np.float32(2.0), var)])
        >>> round(float(var), 5)                             # by 0.1 * 2: not adaptive yet
        9.8

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", 2019; TensorFlow
        Addons, ``tfa.optimizers.RectifiedAdam``.
    """

    description = rectifiedadam.CURRENT
    __init__ = constructor(rectifiedadam.CURRENT, COMMON)


RAdam = RectifiedAdam
