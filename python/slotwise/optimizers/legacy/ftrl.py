# SPDX-License-Identifier: Apache-2.0
"""Ftrl."""

from __future__ import annotations

import warnings
from typing import Any

from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import ftrl
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.legacy._described import Described
from slotwise.optimizers.legacy._made import COMMON


@_registry.register("legacy")
class Ftrl(Described):
    """Follow the regularized leader, for sparse linear models.

        l2'     = l2 + beta / (2 * learning_rate)
        n       = accumulator + grad^2
        linear += grad + 2 * l2_shrinkage * var
                  - (n^-p - accumulator^-p) / learning_rate * var
        var     = (l1 * sign(linear) - linear) / (n^-p / learning_rate + 2 * l2')
                                                                 if |linear| > l1, else 0
        accumulator = n

    with p = learning_rate_power, and the strengths of regularization l1, l2, l2_shrinkage.

    Args:
        {{learning_rate}}
        learning_rate_power: at most 0; 0 for a rate that does not decay.
        initial_accumulator_value: what the accumulators begin with, at least 0.
        l1_regularization_strength: at least 0.
        l2_regularization_strength: at least 0.
        l2_shrinkage_regularization_strength: at least 0; l2 on the gradient alone.
        beta: the paper's beta.
        {{common}}
            ``lr`` is ignored.

    Slots:
        ``accumulator``, ``linear``.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.legacy.Ftrl(1.0, l1_regularization_strength=100.0)
        >>> var = slotwise.Variable(10.0)
        >>> _ = opt.minimize(lambda: (var**2) / 2.0, [var])
        >>> float(var)                                       # too little evidence for a weight
        0.0

    Source: McMahan et al., "Ad click prediction: a view from the trenches", 2013.
    """

    description = ftrl.LEGACY
    __init__ = constructor(ftrl.LEGACY, COMMON)

    def _chosen_rate(self, learning_rate: Any, kwargs: dict[str, Any]) -> Any:
        if "lr" in kwargs:
            warnings.warn(
                "Ftrl ignores `lr`; use `learning_rate`.",
                UserWarning,
                stacklevel=self._frames_to_caller,
            )
        return learning_rate
