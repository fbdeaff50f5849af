# SPDX-License-Identifier: Apache-2.0
"""A loss scale around an optimizer of the current API."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from slotwise._autodiff import GradientTape
from slotwise.optimizers import _gradients, _registry
from slotwise.optimizers._gradients import Pair
from slotwise.optimizers.current import Optimizer
from slotwise.optimizers.loss_scale._shared import LossScale

_DELEGATED = frozenset(
    [
        "build",
        "ema_momentum",
        "finalize_variable_values",
        "flush",
        "iterations",
        "learning_rate",
        "lr",
        "use_ema",
        "variables",
    ]
)


@_registry.kind("current")
@_registry.register("current", "lossscaleoptimizer", module="keras.mixed_precision")
@_registry.also_called("lossscaleoptimizerv3")
class LossScaleOptimizerV3(LossScale):
    """A `LossScaleOptimizer` around an optimizer of the current API.

    ``iterations``, ``learning_rate``, ``variables``, ``build``, ``use_ema``, ``ema_momentum`` and
    ``finalize_variable_values`` are those of the inner optimizer.

    Args:
        inner_optimizer, dynamic, initial_scale, dynamic_growth_steps: see `LossScaleOptimizer`.

    Example:
        >>> import numpy as np
        >>> from slotwise import Variable, optimizers
        >>> var = Variable(1.0)
        >>> opt = optimizers.LossScaleOptimizer(optimizers.SGD(0.5), initial_scale=8.0)
        >>> opt.minimize(lambda: var**2 / 2, [var])
        >>> type(opt).__name__, float(var), float(opt.loss_scale)
        ('LossScaleOptimizerV3', 0.5, 8.0)
    """

    _FAMILY = "current"
    _INNER = Optimizer
    _INNER_NAME = "`slotwise.optimizers.Optimizer`"

    def minimize(self, loss: Any, var_list: Any, tape: GradientTape | None = None) -> None:
        """Do what `Optimizer.minimize` does, with the loss scaled and its gradients scaled back.

        Args:
            loss, var_list, tape: see there.
        """
        self.apply_gradients(self.compute_gradients(loss, var_list, tape))

    def compute_gradients(
        self, loss: Any, var_list: Any, tape: GradientTape | None = None
    ) -> list[Pair]:
        """Compute gradients as `Optimizer` does, with the loss scaled and them scaled back.

        Args:
            loss, var_list, tape: see there.
        """
        inner = self.inner_optimizer
        return self._gradients_of(
            loss, tape, lambda scaled, tape: inner.compute_gradients(scaled, var_list, tape)
        )

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        skip_gradients_aggregation: bool = False,
        **kwargs: Any,
    ) -> None:
        """Apply gradients as `Optimizer` does, unless the scale is dynamic and one is not finite.

        Such a step updates nothing, but counts in `iterations`.

        Args:
            grads_and_vars, skip_gradients_aggregation, kwargs: see there.

        Raises:
            ValueError: no pairs.
        """
        inner = self.inner_optimizer
        given = self._accepted(grads_and_vars)
        if not given:
            raise ValueError("grads_and_vars: expected pairs, got an empty list")
        pairs = _gradients.present(given)[0]
        aggregates = kwargs.get("experimental_aggregate_gradients", True)
        with inner._undone_if_refused():
            if not inner._built:
                if inner._ranks is not None:
                    inner._ranks.expect(given)
                inner.build([var for _, var in given])
            if aggregates and not skip_gradients_aggregation:
                pairs = inner.aggregate_gradients(pairs)
            self._apply(
                pairs, lambda: inner.apply_gradients(pairs, skip_gradients_aggregation=True)
            )

    def _delegated(self) -> Collection[str]:
        return _DELEGATED
