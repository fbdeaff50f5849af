# SPDX-License-Identifier: Apache-2.0
"""A loss scale around an optimizer of the legacy API."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Collection, Iterable
from typing import Any

from slotwise._autodiff import GradientTape
from slotwise.optimizers import _gradients, _registry
from slotwise.optimizers.legacy import Optimizer
from slotwise.optimizers.legacy.optimizer import flatten
from slotwise.optimizers.loss_scale._current import LossScaleOptimizerV3
from slotwise.optimizers.loss_scale._shared import LossScale

_DELEGATED = frozenset(
    [
        "add_slot",
        "clipnorm",
        "clipvalue",
        "flush",
        "get_slot",
        "get_slot_names",
        "get_weights",
        "global_clipnorm",
        "iterations",
        "learning_rate",
        "lr",
        "set_weights",
        "variables",
        "weights",
    ]
)


class _ByInner(ABCMeta):
    """Makes what is called `LossScaleOptimizer` one of the API of its inner optimizer."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        inner = args[0] if args else kwargs.get("inner_optimizer")
        is_current = cls is LossScaleOptimizer and isinstance(inner, LossScaleOptimizerV3._INNER)
        return type.__call__(LossScaleOptimizerV3 if is_current else cls, *args, **kwargs)


@_registry.kind("legacy")
@_registry.register("legacy", module="keras.mixed_precision")
@_registry.also_called("lossscaleoptimizerv1")
class LossScaleOptimizer(LossScale, metaclass=_ByInner):
    """An optimizer whose loss is scaled up, so that small gradients do not vanish in float16.

    Scale the loss by `get_scaled_loss`, and its gradients back by `get_unscaled_gradients`;
    `minimize` does both. A dynamic scale is halved (but not below 1), and the step left out, when a
    gradient is not finite; it is doubled after ``dynamic_growth_steps`` steps that were.

    ``iterations``, weights, slots, hyperparameters and settings of clipping are those of the inner
    optimizer. The scale and its counter are not among the weights.

    Args:
        inner_optimizer: the optimizer that is wrapped.
        dynamic: whether the scale changes.
        initial_scale: the scale at first; 2^15 by default, required for a fixed one.
        dynamic_growth_steps: 2000 by default; not for a fixed scale.

    Attributes:
        loss_scale: the scale, a float32 number; the constructor and the steps set it.
        dynamic_counter: steps since the scale changed; None for a fixed one.

    Warns:
        RuntimeWarning: 10 steps in a row were skipped and the scale is 1; says how many. Again
            whenever there are twice as many.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> import numpy as np
        >>> from slotwise import Variable, optimizers
        >>> var = Variable(1.0)
        >>> opt = optimizers.LossScaleOptimizer(optimizers.legacy.SGD(0.5), initial_scale=8.0)
        >>> opt.minimize(lambda: var**2 / 2, [var])
        >>> float(var), float(opt.loss_scale)
        (0.5, 8.0)
        >>> opt.apply_gradients([(np.array(np.inf, np.float32), var)])
        >>> float(var), float(opt.loss_scale), int(opt.iterations)
        (0.5, 4.0, 2)

    Source: Micikevicius et al., "Mixed precision training", 2017.
    """

    _FAMILY = "legacy"
    _INNER = Optimizer
    _INNER_NAME = "`slotwise.optimizers.Optimizer` or `slotwise.optimizers.legacy.Optimizer`"

    def get_gradients(self, loss: Any, params: Any) -> list[Any]:
        """Compute gradients as legacy `Optimizer` does, with the loss scaled and them scaled back.

        Args:
            loss, params: see there.
        """
        scaled = self.get_scaled_loss(loss)
        return self.get_unscaled_gradients(self.inner_optimizer.get_gradients(scaled, params))

    def get_updates(self, loss: Any, params: Any) -> list[Any]:
        """Make a step as legacy `Optimizer` does, with the loss scaled and gradients scaled back.

        Args:
            loss, params: see there.
        """
        grads = self.get_gradients(loss, params)
        self.apply_gradients(zip(grads, flatten(params), strict=True))
        return [self.inner_optimizer.iterations]

    def minimize(
        self,
        loss: Any,
        var_list: Any,
        grad_loss: Any = None,
        name: str | None = None,
        tape: GradientTape | None = None,
    ) -> None:
        """Do what `Optimizer.minimize` does, with the loss scaled and its gradients scaled back.

        Args:
            loss, var_list, grad_loss, name, tape: see there.
        """
        inner = self.inner_optimizer
        pairs = self._gradients_of(
            loss,
            tape,
            lambda scaled, tape: inner._compute_gradients(scaled, var_list, grad_loss, tape),
        )
        self.apply_gradients(pairs, name=name)

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: str | None = None,
        experimental_aggregate_gradients: bool = True,
    ) -> None:
        """Apply gradients as `Optimizer` does, unless the scale is dynamic and one is not finite.

        Such a step updates nothing, but counts in `iterations`.

        Args:
            grads_and_vars, name, experimental_aggregate_gradients: see there.
        """
        inner = self.inner_optimizer
        pairs = _gradients.present(self._accepted(grads_and_vars))[0]
        if experimental_aggregate_gradients:
            pairs = inner._aggregate_gradients(inner._transform_unaggregated_gradients(pairs))
        self._apply(
            pairs,
            lambda: inner.apply_gradients(pairs, name=name, experimental_aggregate_gradients=False),
        )

    def _delegated(self) -> Collection[str]:
        """The names of what is the inner optimizer's."""
        return {*_DELEGATED, *self.inner_optimizer._hyper}


LossScaleOptimizer.register(LossScaleOptimizerV3)  # is one, too
