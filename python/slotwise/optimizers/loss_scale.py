"""Loss scaling, for gradients in float16."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from slotwise._autodiff import GradientTape
from slotwise._variable import Variable
from slotwise.optimizers import _gradients, _registry
from slotwise.optimizers._state_dict import Stateful
from slotwise.optimizers.legacy.optimizer import Optimizer

_INITIAL_SCALE = 2.0**15
_GROWTH_STEPS = 2000
_MULTIPLIER = 2

_log = logging.getLogger("slotwise")


class LossScaleOptimizer(Stateful):
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
        loss_scale: the scale, a float32 number.
        dynamic_counter: steps since the scale changed; None for a fixed one.

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

    def __init__(
        self,
        inner_optimizer: Optimizer,
        dynamic: bool = True,
        initial_scale: float | None = None,
        dynamic_growth_steps: int | None = None,
    ) -> None:
        if isinstance(inner_optimizer, LossScaleOptimizer):
            raise TypeError(
                "LossScaleOptimizer cannot wrap another LossScaleOptimizer, but got: "
                f"{inner_optimizer}"
            )
        if not isinstance(inner_optimizer, Optimizer):
            raise TypeError(
                '"inner_optimizer" must be an instance of `slotwise.optimizers.legacy.Optimizer`, '
                f"but got: {inner_optimizer}"
            )
        if not isinstance(dynamic, bool):
            raise TypeError(
                '"dynamic" argument to LossScaleOptimizer.__init__ must be a bool, but got: '
                f"{dynamic!r}"
            )
        if "_loss_scale_optimizer" in vars(inner_optimizer):
            raise ValueError(
                f'"inner_optimizer" is already wrapped by a LossScaleOptimizer: {inner_optimizer}'
            )
        if not dynamic and initial_scale is None:
            raise ValueError('"initial_scale" must be specified if "dynamic" is False')
        if not dynamic and dynamic_growth_steps is not None:
            raise ValueError(
                '"dynamic_growth_steps" must be None if "dynamic" is False, but got: '
                f"{dynamic_growth_steps}"
            )
        self._dynamic = dynamic
        self._initial_scale = float(_INITIAL_SCALE if initial_scale is None else initial_scale)
        self._growth_steps: int | None = None
        self.dynamic_counter: Variable | None = None
        if dynamic:
            steps = _GROWTH_STEPS if dynamic_growth_steps is None else dynamic_growth_steps
            self._growth_steps = int(steps)
            self.dynamic_counter = Variable(np.zeros((), np.int64), name="good_steps")
        self.loss_scale = Variable(np.array(self._initial_scale, np.float32), name="loss_scale")
        self._scaled = self._unscaled = False
        inner_optimizer._loss_scale_optimizer = self
        self.inner_optimizer = inner_optimizer

    @property
    def dynamic(self) -> bool:
        return self._dynamic

    @property
    def initial_scale(self) -> float:
        return self._initial_scale

    @property
    def dynamic_growth_steps(self) -> int | None:
        return self._growth_steps

    def get_scaled_loss(self, loss: Any) -> Any:
        """The loss, or the function that computes it, times the scale.

        Args:
            loss: a number, or a function of no arguments.

        Example:
            >>> from slotwise import optimizers
            >>> opt = optimizers.LossScaleOptimizer(optimizers.legacy.SGD(), initial_scale=4.0)
            >>> float(opt.get_scaled_loss(0.5))
            2.0
        """
        self._scaled = True
        if not callable(loss):
            return loss * self._scale_like(loss)
        function: Callable[[], Any] = loss

        def scaled() -> Any:
            value = function()
            return value * self._scale_like(value)

        return scaled

    def _scale_like(self, loss: Any) -> Any:
        dtype = getattr(loss, "dtype", None)
        scale = self.loss_scale.value[()]
        return float(scale) if dtype is None else np.dtype(dtype).type(scale)

    def get_unscaled_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Gradients divided by the scale.

        Args:
            grads: arrays, `slotwise.IndexedSlices` or None.

        Example:
            >>> import numpy as np
            >>> from slotwise import optimizers
            >>> opt = optimizers.LossScaleOptimizer(optimizers.legacy.SGD(), initial_scale=4.0)
            >>> opt.get_unscaled_gradients([np.array([2.0]), None])
            [array([0.5]), None]
        """
        self._unscaled = True
        inverse = np.float32(1) / self.loss_scale.value[()]
        unscaled = []
        for grad in grads:
            if grad is not None:
                values = np.asarray(_gradients.values_of(grad))
                grad = _gradients.with_values(
                    grad, np.asarray(values * inverse.astype(values.dtype))
                )
            unscaled.append(grad)
        return unscaled

    def minimize(
        self,
        loss: Any,
        var_list: Any,
        grad_loss: Any = None,
        name: str | None = None,
        tape: GradientTape | None = None,
    ) -> None:
        """As `Optimizer.minimize`, with the loss scaled and its gradients scaled back.

        Args:
            loss, var_list, grad_loss, name, tape: see there.
        """
        tape = GradientTape() if tape is None else tape
        with tape:
            loss = self.get_scaled_loss(loss)
        pairs = self.inner_optimizer._compute_gradients(loss, var_list, grad_loss, tape)
        grads = self.get_unscaled_gradients([grad for grad, _ in pairs])
        self.apply_gradients(zip(grads, [var for _, var in pairs], strict=True), name=name)

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: str | None = None,
        experimental_aggregate_gradients: bool = True,
    ) -> None:
        """As `Optimizer.apply_gradients`, unless the scale is dynamic and a gradient not finite.

        Such a step updates nothing, but counts in `iterations`.

        Args:
            grads_and_vars, name, experimental_aggregate_gradients: see there.
        """
        if not (self._scaled and self._unscaled):
            _log.warning(
                "LossScaleOptimizer: apply_gradients without get_scaled_loss and "
                "get_unscaled_gradients: the loss is not scaled"
            )
        inner = self.inner_optimizer
        pairs = _gradients.present(grads_and_vars)
        if experimental_aggregate_gradients:
            pairs = inner._aggregate_gradients(inner._transform_unaggregated_gradients(pairs))
        is_finite = not self._dynamic or _gradients.all_finite(pairs)
        if is_finite:
            inner.apply_gradients(pairs, name=name, experimental_aggregate_gradients=False)
        else:
            inner.iterations.assign_add(1)
        if self._dynamic:
            self._adapt(is_finite)

    def _adapt(self, is_finite: bool) -> None:
        assert self.dynamic_counter is not None
        assert self._growth_steps is not None
        counter = int(self.dynamic_counter) + 1 if is_finite else 0
        scale = self.loss_scale.value[()]
        if not is_finite:
            self.loss_scale.assign(max(scale / _MULTIPLIER, np.float32(1)))
        elif counter >= self._growth_steps:
            counter = 0
            with np.errstate(over="ignore"):
                grown = scale * np.float32(_MULTIPLIER)
            if np.isfinite(grown):
                self.loss_scale.assign(grown)
        self.dynamic_counter.assign(counter)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as a dict of plain data."""
        return {
            "inner_optimizer": _registry.serialize(self.inner_optimizer),
            "dynamic": self.dynamic,
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, type[Any]] | None = None
    ) -> LossScaleOptimizer:
        """The optimizer with these constructor's arguments; reads Keras's older layout, too.

        Args:
            config: what `get_config` returned; not changed.
            custom_objects: classes of your own, by name.
        """
        arguments = dict(config)
        if "loss_scale" in arguments:
            arguments.update(_from_old_layout(arguments.pop("loss_scale")))
            arguments["inner_optimizer"] = arguments.pop("optimizer")
        inner = arguments.pop("inner_optimizer")
        if not isinstance(inner, Optimizer):
            inner = _registry.deserialize(inner, custom_objects, use_legacy_optimizer=True)
        return cls(inner, **arguments)

    # ----- by name -------------------------------------------------------------------------------

    def _own_state(self, name_of: Callable[[Variable], str]) -> dict[str, Any]:
        own = {"loss_scale": self.loss_scale}
        if self.dynamic_counter is not None:
            own["good_steps"] = self.dynamic_counter
        return {**self.inner_optimizer._own_state(name_of), **own}

    def _state_numbers(self) -> dict[str, Any]:
        return self.inner_optimizer._state_numbers()

    def _variable_slots(self) -> Iterator[tuple[Variable, Mapping[str, Variable]]]:
        return self.inner_optimizer._variable_slots()

    def _make_slots(self, variables: Sequence[Any]) -> None:
        self.inner_optimizer._make_slots(variables)

    def _restored_settings(self) -> frozenset[str]:
        return self.inner_optimizer._restored_settings()

    # ----- the inner optimizer's -----------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        inner = self.__dict__.get("inner_optimizer")
        if inner is not None and (name in _DELEGATED or name in inner._hyper):
            return getattr(inner, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        inner = self.__dict__.get("inner_optimizer")
        if inner is not None and (name in _DELEGATED or name in inner._hyper):
            setattr(inner, name, value)
        else:
            object.__setattr__(self, name, value)

    def __dir__(self) -> Iterable[str]:
        return sorted({*super().__dir__(), *_DELEGATED, *self.inner_optimizer._hyper})


_DELEGATED = frozenset(
    [
        "add_slot",
        "clipnorm",
        "clipvalue",
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


def _from_old_layout(loss_scale: dict[str, Any]) -> dict[str, Any]:
    """Arguments from a serialized FixedLossScale or DynamicLossScale."""
    config = loss_scale["config"]
    if loss_scale["class_name"] == "FixedLossScale":
        return {"dynamic": False, "initial_scale": config["loss_scale_value"]}
    if loss_scale["class_name"] != "DynamicLossScale":
        raise ValueError(
            "LossScaleOptimizer.from_config: loss_scale: expected a FixedLossScale or a "
            f"DynamicLossScale, got {loss_scale['class_name']!r}"
        )
    if config["multiplier"] != _MULTIPLIER:
        raise ValueError(
            "Cannot deserialize LossScaleOptimizer with a DynamicLossScale whose multiplier is "
            f"not 2. Got DynamicLossScale: {config}"
        )
    return {
        "dynamic": True,
        "initial_scale": config["initial_loss_scale"],
        "dynamic_growth_steps": config["increment_period"],
    }


_registry.register_kind(LossScaleOptimizer)
_registry.register(LossScaleOptimizer, "keras.mixed_precision", "lossscaleoptimizerv1")
