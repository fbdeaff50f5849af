"""What all learning rate schedules share."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Float: TypeAlias = Any  # a NumPy float32 or float64


class LearningRateSchedule:
    """A learning rate that depends on the step; derive from it to write one.

    A schedule is called with the step, a number, and returns the rate. `get_config` returns the
    constructor's arguments, from which `from_config` makes the schedule again.

    Example:
        >>> from slotwise.optimizers import legacy, schedules
        >>> class Halved(schedules.LearningRateSchedule):
        ...     def __init__(self, rate):
        ...         self.rate = rate
        ...     def __call__(self, step):
        ...         return self.rate / (1 + step)
        ...     def get_config(self):
        ...         return {"rate": self.rate}
        >>> opt = legacy.SGD(Halved(0.5))
        >>> opt.get_config()["learning_rate"]["config"]
        {'rate': 0.5}
    """

    def __call__(self, step: Any) -> Any:
        raise NotImplementedError("LearningRateSchedule: expected a subclass with __call__")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as a dict."""
        raise NotImplementedError("LearningRateSchedule: expected a subclass with get_config")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """The schedule with these constructor's arguments."""
        return cls(**config)


class ConfiguredSchedule(LearningRateSchedule):
    """A schedule that keeps its constructor's arguments as attributes, in the order of `_keys`.

    It computes in float32, or in float64 if its rate is a NumPy float64.
    """

    _keys: tuple[str, ...]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as a dict."""
        return {key: getattr(self, key) for key in self._keys}


def number(value: Any) -> Float:
    """A rate as the type that the schedule is computed in."""
    dtype = getattr(value, "dtype", None)
    return np.float64(value) if dtype == np.float64 else np.float32(value)
