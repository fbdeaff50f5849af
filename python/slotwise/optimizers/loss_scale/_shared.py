# SPDX-License-Identifier: Apache-2.0
"""A loss scale around an optimizer: what both APIs share."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np

from slotwise import _arguments, _core
from slotwise._autodiff import GradientTape
from slotwise._lock import Lock
from slotwise._names import Kind
from slotwise._stateful import Met, PutOff, Stateful
from slotwise._variable import Variable
from slotwise.optimizers import _gradients, _registry, _serialization
from slotwise.optimizers._gradients import Pair
from slotwise.optimizers._kinds import OPTIONAL_COUNT, Number
from slotwise.optimizers._loss import own_or_new, value_of
from slotwise.optimizers._state import Copied, listed
from slotwise.optimizers._state_dict import StateDict

_INITIAL_SCALE = 2.0**15
_GROWTH_STEPS = 2000
_MULTIPLIER = 2
_SCALE = Number(above=0, optional=True)
_MANY_SKIPPED = 10  # steps in a row

_log = logging.getLogger("slotwise")


class LossScale(Copied, StateDict):
    """A loss scale around an optimizer, of either API."""

    _FAMILY: ClassVar[_registry.Family]
    _INNER: ClassVar[type[Any]]  # what may be wrapped
    _INNER_NAME: ClassVar[str]

    _inner: Any = None

    def __init__(
        self,
        inner_optimizer: Any,
        dynamic: bool = True,
        initial_scale: float | None = None,
        dynamic_growth_steps: int | None = None,
    ) -> None:
        owner = "LossScaleOptimizer"
        if isinstance(inner_optimizer, LossScale):
            raise TypeError(
                "LossScaleOptimizer cannot wrap another LossScaleOptimizer, but got: "
                f"{inner_optimizer}"
            )
        if not isinstance(inner_optimizer, self._INNER):
            raise TypeError(
                f'"inner_optimizer" must be an instance of {self._INNER_NAME}, but got: '
                f"{inner_optimizer}"
            )
        if not isinstance(dynamic, (bool, np.bool_)):
            raise TypeError(
                '"dynamic" argument to LossScaleOptimizer.__init__ must be a bool, but got: '
                f"{dynamic!r}"
            )
        if "_loss_scale_optimizer" in vars(inner_optimizer):
            raise ValueError(
                f'"inner_optimizer" is already wrapped by a LossScaleOptimizer: {inner_optimizer}'
            )
        if getattr(inner_optimizer, "loss_scale_factor", None) is not None:
            raise ValueError(
                f"{owner}: inner_optimizer: expected one without loss_scale_factor, got "
                f"{inner_optimizer.loss_scale_factor}: gradients would be unscaled twice"
            )
        if not dynamic and initial_scale is None:
            raise ValueError('"initial_scale" must be specified if "dynamic" is False')
        if not dynamic and dynamic_growth_steps is not None:
            raise ValueError(
                '"dynamic_growth_steps" must be None if "dynamic" is False, but got: '
                f"{dynamic_growth_steps}"
            )
        scale = _SCALE(owner, "initial_scale", initial_scale)
        steps = OPTIONAL_COUNT(owner, "dynamic_growth_steps", dynamic_growth_steps)
        self._dynamic = bool(dynamic)
        self._initial_scale = _INITIAL_SCALE if scale is None else float(scale)
        self._growth_steps: int | None = None
        self._counter: Variable | None = None
        if dynamic:
            self._growth_steps = _GROWTH_STEPS if steps is None else steps
            self._counter = Variable(np.zeros((), np.int64), name="good_steps")
        self._scale = Variable(np.array(self._initial_scale, np.float32), name="loss_scale")
        self._scaled = self._unscaled = False
        self._skipped, self._warn_at = 0, _MANY_SKIPPED  # steps in a row
        inner_optimizer._loss_scale_optimizer = self
        self._inner = inner_optimizer

    @property
    def inner_optimizer(self) -> Any:
        return self._inner

    @property
    def loss_scale(self) -> Any:
        """The scale, a float32 number of its own: later steps do not change it."""
        return self._scale.numpy()

    @property
    def dynamic_counter(self) -> Variable | None:
        return self._counter

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
            return self._times_scale(loss)
        function: Callable[[], Any] = loss

        def scaled() -> Any:
            return self._times_scale(value_of(function))

        return scaled

    def _times_scale(self, loss: Any) -> Any:
        op = f"{type(self).__name__}.get_scaled_loss"
        dtype = getattr(loss, "dtype", None)
        if isinstance(dtype, np.dtype) and not _arguments.is_numeric(dtype):
            raise _arguments.refused(op, "loss", "a number", loss)
        return _arguments.converted(op, "loss", "a number", loss, self._scaled_up)

    def _scaled_up(self, loss: Any) -> Any:
        dtype, scale = getattr(loss, "dtype", None), self.loss_scale
        if not isinstance(dtype, np.dtype):  # a number, or of another library
            return loss * float(scale)
        if dtype.itemsize > 2:
            return loss * dtype.type(scale)
        # The product may have a 16-bit type's range though the scale has not.
        with np.errstate(over="ignore"):
            return (loss.astype(np.float32) * scale).astype(dtype)

    def get_unscaled_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Gradients divided by the scale, and rounded once.

        Args:
            grads: arrays, `slotwise.IndexedSlices` or None.

        Example:
            >>> import numpy as np
            >>> from slotwise import optimizers
            >>> opt = optimizers.LossScaleOptimizer(optimizers.legacy.SGD(), initial_scale=4.0)
            >>> opt.get_unscaled_gradients([np.array([2.0]), None])
            [array([0.5]), None]
        """
        op = f"{type(self).__name__}.get_unscaled_gradients"
        given, scale = listed(op, "grads", "gradients", grads), self.loss_scale
        found = [
            None if grad is None else _unscaled(op, f"grads[{place}]", grad, scale)
            for place, grad in enumerate(given)
        ]
        self._unscaled = True
        return found

    def _gradients_of(
        self,
        loss: Any,
        tape: GradientTape | None,
        compute: Callable[[Any, GradientTape], list[Pair]],
    ) -> list[Pair]:
        """Pairs of the gradients of a loss, which was scaled, scaled back."""
        tape = own_or_new(tape)
        with tape:
            loss = self.get_scaled_loss(loss)
        with np.errstate(over="ignore", invalid="ignore"):  # by which a scale is found too large
            pairs = compute(loss, tape)
        grads = self.get_unscaled_gradients([grad for grad, _ in pairs])
        return list(zip(grads, [var for _, var in pairs], strict=True))

    def _accepted(self, pairs: Any) -> list[Pair]:
        _warn_of_missing_calls(self._scaled, self._unscaled)
        op = f"{type(self).__name__}.apply_gradients"
        given = _gradients.pairs_of(op, pairs)
        if self._inner._ranks is not None:  # which check them together
            return given
        return _gradients.accepted(op, given, self._inner._takes_lists)

    def _apply(self, pairs: list[Pair], apply: Callable[[], Any]) -> None:
        """Apply gradients if they are finite, and adapt the scale."""
        op = f"{type(self).__name__}.apply_gradients"
        is_finite = not self._dynamic or self._are_finite(op, pairs)
        with self._lock.step():
            if is_finite:
                apply()
            else:
                self.inner_optimizer._count_skipped()
            if self._dynamic:
                self._adapt(is_finite)

    def _are_finite(self, op: str, pairs: list[Pair]) -> bool:
        """Whether all gradients are finite, on all ranks."""
        ranks = self._inner._ranks
        if ranks is None:
            return _gradients.all_finite(op, pairs)
        return bool(ranks.all_finite(op, pairs))

    def _adapt(self, is_finite: bool) -> None:
        assert self._counter is not None
        assert self._growth_steps is not None
        counter = int(self._counter) + 1 if is_finite else 0
        scale = self.loss_scale
        if not is_finite:
            self._scale.assign(max(scale / _MULTIPLIER, np.float32(1)))
        elif counter >= self._growth_steps:
            counter = 0
            with np.errstate(over="ignore"):
                grown = scale * np.float32(_MULTIPLIER)
            if np.isfinite(grown):
                self._scale.assign(grown)
        self._counter.assign(counter)
        self._warn_of_skipping(is_finite, scale)

    def _warn_of_skipping(self, is_finite: bool, scale: Any) -> None:
        """Warn once the scale can fall no further, and again after twice as many steps."""
        if is_finite:
            self._skipped, self._warn_at = 0, _MANY_SKIPPED
            return
        self._skipped += 1
        if scale <= 1 and self._skipped >= self._warn_at:
            self._warn_at = 2 * self._skipped
            warnings.warn(
                f"LossScaleOptimizer: {self._skipped} steps in a row were skipped, since a "
                "gradient was not finite, and the loss scale is 1 already: nothing is learned. "
                "Look for what makes the loss or its gradients NaN or infinite.",
                RuntimeWarning,
                stacklevel=5,  # whoever calls apply_gradients
            )

    def _has_met(self) -> bool:
        return bool(self.inner_optimizer._has_met())

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.inner_optimizer._loss_scale_optimizer = self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner_optimizer!r}, dynamic={self.dynamic})"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as a dict of plain data."""
        return {
            "inner_optimizer": _serialization.serialize(self._inner, notes_doubles=True),
            "dynamic": self.dynamic,
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, type[Any]] | None = None
    ) -> Any:
        """The optimizer with these constructor's arguments; reads Keras's older layout, too.

        Args:
            config: what `get_config` returned; not changed.
            custom_objects: classes of your own, by name.

        Raises:
            ValueError: a config of Keras 3's, which skips steps otherwise.
        """
        arguments = _arguments.named_of(f"{cls.__name__}.from_config", "config", config)
        if "name" in arguments:
            raise ValueError(
                "LossScaleOptimizer.from_config: expected a config of Keras 2, got one of Keras "
                "3, whose LossScaleOptimizer does not count the steps that it leaves out, and lets "
                "the scale fall below 1. Make one around the optimizer of config['inner_optimizer']"
            )
        if "loss_scale" in arguments:
            arguments.update(_from_old_layout(arguments.pop("loss_scale")))
            arguments["inner_optimizer"] = arguments.pop("optimizer")
        inner = arguments.pop("inner_optimizer")
        if not _registry.is_optimizer(inner):
            is_legacy = cls._FAMILY == "legacy"
            inner = _registry.deserialize(inner, custom_objects, use_legacy_optimizer=is_legacy)
        return cls(inner, **arguments)

    # ----- by name -------------------------------------------------------------------------------

    @property
    def _stateful(self) -> Stateful:
        inner: Stateful = self.inner_optimizer
        return inner

    def _own_state(self) -> dict[str, Any]:
        own = {"loss_scale": self._scale}
        if self._counter is not None:
            own["good_steps"] = self._counter
        return {**self._stateful._own_state(), **own}

    def _hyperparameters(self) -> dict[str, Any]:
        return self._stateful._hyperparameters()

    @property
    def _lock(self) -> Lock:  # type: ignore[override]
        return self._stateful._lock

    def _entries(self) -> Iterator[Met]:
        return self._stateful._entries()

    def _communicator(self) -> Any:
        return self._stateful._communicator()

    def _share_of(self, variable: Any) -> Any:
        return self._stateful._share_of(variable)

    def _wanted_entries(self) -> Iterator[Met]:
        return self._stateful._wanted_entries()

    def _deferral(self, entry: Met) -> _core.Deferral | None:
        return self._stateful._deferral(entry)

    def _taking(self, variable: Any, kinds: Mapping[str, Kind]) -> PutOff | None:
        return self._stateful._taking(variable, kinds)

    def _make_slots(self, variables: Sequence[Any], others: Sequence[Any] = ()) -> None:
        self._stateful._make_slots(variables, others)

    def _undone_if_refused(self) -> AbstractContextManager[None]:
        return self._stateful._undone_if_refused()

    def _restored_settings(self) -> frozenset[str]:
        return self._stateful._restored_settings()

    def _state_was_written(self) -> None:
        self._stateful._state_was_written()

    # ----- the inner optimizer's -----------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        inner = self._inner
        if inner is not None and name in self._delegated():
            return getattr(inner, name)
        raise AttributeError(self._without(name))

    def __setattr__(self, name: str, value: Any) -> None:
        inner = self._inner
        if inner is None or hasattr(type(self), name) or name in self.__dict__:
            object.__setattr__(self, name, value)
        elif name in self._delegated():
            setattr(inner, name, value)
        elif not name.startswith("_") and hasattr(inner, name):  # it would have no effect here
            raise AttributeError(self._without(name))
        else:
            object.__setattr__(self, name, value)

    def _delegated(self) -> Collection[str]:
        """Hook: the names of what is the inner optimizer's."""
        raise NotImplementedError

    def _without(self, name: str) -> str:
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        return f"{text}; its inner_optimizer has" if hasattr(self._inner, name) else text

    def __dir__(self) -> Iterable[str]:
        return sorted({*super().__dir__(), *self._delegated()})


def _unscaled(op: str, name: str, grad: Any, scale: Any) -> Any:
    grad = _gradients.plain(grad, op)
    _arguments.array(op, name, _gradients.values_of(grad))
    return _arguments.converted(op, name, "numbers", grad, lambda x: _gradients.divided(x, scale))


_SCALING = """
    with slotwise.GradientTape() as tape:
        scaled_loss = opt.get_scaled_loss(loss_fn())
    grads = opt.get_unscaled_gradients(tape.gradient(scaled_loss, variables))
    opt.apply_gradients(zip(grads, variables))"""


def _warn_of_missing_calls(is_scaled: bool, is_unscaled: bool) -> None:
    calls = {"get_scaled_loss()": is_scaled, "get_unscaled_gradients()": is_unscaled}
    missing = [call for call, was_made in calls.items() if not was_made]
    made = [call for call, was_made in calls.items() if was_made]
    if missing:
        _log.warning(
            "You forgot to call %s before calling LossScaleOptimizer.apply_gradients()%s. This "
            "will likely result in worse model quality, so please call %s in the correct %s! For "
            "example:%s",
            " and ".join(f"LossScaleOptimizer.{call}" for call in missing),
            f" (you did call {made[0]} however)" if made else "",
            missing[0] if made else "them",
            "place" if made else "places",
            _SCALING,
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
