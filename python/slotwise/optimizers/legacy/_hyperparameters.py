# SPDX-License-Identifier: Apache-2.0
"""Hyperparameters of the legacy API: numbers that may change, as attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from slotwise._lock import Locked
from slotwise._variable import Variable, own_array
from slotwise.optimizers import _serialization
from slotwise.optimizers._description import Description, Options
from slotwise.optimizers._kinds import HYPER, RATE, Checked, Hyper, Kind, is_function, scheduled
from slotwise.optimizers._numbers import Float, Reading, compute_type, configured, rounded
from slotwise.optimizers._schedule import is_schedule
from slotwise.optimizers._step import Step


class Hyperparameters(Locked, Checked):
    """Keeps hyperparameters: each a number, a schedule, a callable or an array."""

    _kinds: ClassVar[Mapping[str, Kind]] = {"learning_rate": RATE}
    _iterations: Variable | None
    description: Description  # of those that have one
    _settled: Mapping[str, bool]  # options that the constructor settled

    def __init__(self, decay: Any) -> None:
        self._hyper: dict[str, Any] = {}
        self._given: dict[str, Any] = {}  # the numbers, before they were rounded
        self._hypers_created = False
        self._initial_decay = decay

    def _step_count(self) -> int:
        """How many steps there were; asking makes nothing."""
        return 0 if self._iterations is None else int(own_array(self._iterations))

    def _set_hyper(self, name: str, value: Any) -> None:
        """Keep a hyperparameter; a number that was read already is written to in place."""
        owner, kind = type(self).__name__, self._kinds.get(name)
        if kind is not None:
            value = kind(owner, name, value)
        previous = self._hyper.get(name)
        if isinstance(previous, Variable) and not is_schedule(value):
            if is_function(value):
                raise TypeError(f"{owner}: {name}: expected a number, got a callable")
            with self._lock.step():
                previous.assign(float(value) if isinstance(value, int) else value)
        else:
            self._hyper[name] = value
        self._given[name] = value

    def _get_hyper(self, name: str, dtype: DTypeLike | None = None) -> Any:
        """A hyperparameter's value: a variable, an array, a schedule or what a callable returns.

        With a dtype, as a number of the type that such arrays are computed in.
        """
        if not self._hypers_created:
            self._create_hypers()
        value = self._hyper[name]
        if not isinstance(value, Variable) and is_function(value):
            value = self._asked(name, value)
        return value if dtype is None else rounded(value, compute_type(np.dtype(dtype)))

    def _asked(self, name: str, function: Any) -> Any:
        """What a function given as a hyperparameter returns."""
        kind = self._kinds.get(name)
        return (kind if isinstance(kind, Hyper) else HYPER).of(type(self).__name__, name, function)

    def _create_hypers(self) -> None:
        if self._hypers_created:
            return
        for name, value in self._hyper.items():
            if not (callable(value) or isinstance(value, (Variable, np.ndarray))):
                is_double = getattr(value, "dtype", None) == np.float64
                dtype = np.float64 if is_double else np.float32
                self._hyper[name] = Variable(np.array(value, dtype), trainable=False, name=name)
        self._hypers_created = True

    def _serialize_hyperparameter(self, name: str) -> Any:
        """A hyperparameter as plain data, for `get_config`."""
        value = self._hyper[name]
        if is_function(value):
            value = self._asked(name, value)
        if isinstance(value, (Variable, np.ndarray, np.generic)) and np.ndim(value) == 0:
            return configured(np.asarray(value)[()], self._given.get(name))
        return _serialization.plain(value)

    def __getattr__(self, name: str) -> Any:
        hyper = self.__dict__.get("_hyper", {})
        key = "learning_rate" if name == "lr" else name
        if key in hyper:
            return self._get_hyper(key)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        key = "learning_rate" if name == "lr" else name
        if key in self.__dict__.get("_hyper", ()):
            self._set_hyper(key, value)
        else:
            super().__setattr__(name, value)

    def __dir__(self) -> Iterable[str]:
        aliases = ["lr"] if "learning_rate" in self._hyper else []
        return sorted({*super().__dir__(), *self._hyper, *aliases})

    def _decayed_lr(self, var_dtype: DTypeLike) -> Float:
        """The learning rate of this step, in the type that arrays of a dtype are computed in."""
        kind = compute_type(np.dtype(var_dtype))
        rate = self._get_hyper("learning_rate")
        step = kind(self._step_count())
        if not isinstance(rate, Variable) and is_schedule(rate):
            rate = scheduled(type(self).__name__, rate, step)
        number = rounded(rate, kind)
        if self._initial_decay > 0:
            number = number / (1 + rounded(self._initial_decay, kind) * step)
        return number

    # ----- for a step of an optimizer with a description -----------------------------------------

    def _options(self) -> Options:
        settled = self._settled
        return {
            name: settled[name] if name in settled else bool(getattr(self, name) > 0)
            for name in self.description.options
        }

    def _reading(self, step: Step) -> Reading:
        hyper, description = self._hyper, self.description
        values = {
            name: self._get_hyper(name) if name in hyper else getattr(self, name)
            for name in description.read
        }
        rates = tuple(None if kind is None else self._rate(kind) for kind in step.types)
        assert self._iterations is not None  # `_known` made it
        counter = own_array(self._iterations)
        return Reading(values, description.exact, rates, self._step_count(), counter)

    def _rate(self, kind: type[Float]) -> Float:
        return self._decayed_lr(np.dtype(kind))
