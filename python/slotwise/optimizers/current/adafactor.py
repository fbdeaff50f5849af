# SPDX-License-Identifier: Apache-2.0
"""Adafactor."""

from __future__ import annotations

import numpy as np

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import adafactor
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._keras3 import Weight
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
class Adafactor(Described):
    """Adafactor: steps scaled by running means of squares, of which only two margins are kept.

        t     = iterations + 1
        rho   = min(learning_rate, 1 / sqrt(t))
        alpha = max(epsilon_2, rms(var)) * rho                   rms(x) = sqrt(mean(x^2))
        G     = grad^2 + epsilon_1
        b     = 1 - t^beta_2_decay

        r     = b * r + (1 - b) * mean(G, last axis)             of rank 2 and more
        c     = b * c + (1 - b) * mean(G, next to last axis)
        v     = (r / mean(r, last axis)) * c                     an outer product
        v     = b * v + (1 - b) * G                              of rank 0 and 1

        x     = grad / sqrt(v)
        var  -= alpha * x / max(1, rms(x) / clip_threshold)

    Args:
        {{learning_rate}}
        beta_2_decay: the exponent in b, at most 0.
        epsilon_1: added to squares.
        epsilon_2: the least root mean square of a variable that steps are scaled by.
        clip_threshold: the largest root mean square of x.
        relative_step: kept in the config; as in Keras, rho is capped either way.
        {{common}}

    Slots:
        ``r``, ``c`` (of rank 2 and more), ``v``.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.Adafactor(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> opt.minimize(lambda: (var**2) / 2.0, [var])          # d(loss) / d(var) = var
        >>> round(float(var), 6)                             # by 10 * 0.1
        9.0

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost",
        2018.
    """

    description = adafactor.CURRENT
    __init__ = constructor(adafactor.CURRENT, COMMON)

    def _slots_in_keras(self, keras: int) -> list[Weight]:
        """Keras 3 has numbers in place of ``r`` and ``c`` below rank 2."""
        slots = super()._slots_in_keras(keras)
        unfactored = {id(own["v"]) for own in self._slots.values() if "r" not in own}
        unused = Weight("unused", (), (np.dtype(np.int32), np.dtype(np.float32)), None)
        found: list[Weight] = []
        for slot in slots:
            found += [unused] * 2 if keras == 3 and id(slot.variable) in unfactored else []
            found.append(slot)
        return found
