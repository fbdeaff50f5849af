# SPDX-License-Identifier: Apache-2.0
"""The base class of learning rate schedules."""

from __future__ import annotations

from typing import Any

from slotwise import _arguments
from slotwise.optimizers import _serialization


class LearningRateSchedule:
    """A learning rate that depends on the step; derive from it to write one.

    A schedule is called with the step, a number, and returns the rate. `get_config` returns the
    constructor's arguments, from which `from_config` makes the schedule again. A schedule without
    `get_config` trains and can be saved with its optimizer, except for its arguments.

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
        raise NotImplementedError(f"{type(self).__name__}: expected a class with __call__")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as a dict; they may hold schedules."""
        raise NotImplementedError(f"{type(self).__name__}: expected a class with get_config")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """The schedule with these constructor's arguments."""
        arguments = _serialization.revived(
            _arguments.named_of(f"{cls.__name__}.from_config", "config", config)
        )
        if not _arguments.takes(cls, **arguments):
            expected = "the arguments of the constructor"
            raise _arguments.refused(f"{cls.__name__}.from_config", "config", expected, [*config])
        return cls(**arguments)


def is_schedule(value: Any) -> bool:
    return isinstance(value, LearningRateSchedule)
