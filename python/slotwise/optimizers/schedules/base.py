# SPDX-License-Identifier: Apache-2.0
"""What the schedules built in share."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from slotwise import _arguments
from slotwise.optimizers._kinds import Checked
from slotwise.optimizers._schedule import LearningRateSchedule

Float: TypeAlias = Any  # a NumPy float32 or float64
_PLAIN = (float, np.float32, np.float64)


class ConfiguredSchedule(Checked, LearningRateSchedule):
    """A schedule that keeps its constructor's arguments as attributes, in the order of `_kinds`.

    It computes in float32, or in float64 if its rate is a NumPy float64.
    """

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as a dict."""
        return {key: getattr(self, key) for key in self._kinds}

    def _at(self, step: Any, dtype: type[Float]) -> Float:
        """A step as the type that is computed in."""
        if type(step) in _PLAIN:
            return dtype(step)
        name = type(self).__name__
        return dtype(_arguments.converted(name, "step", "a number", step, _number_of))


def _number_of(value: Any) -> Any:
    if np.ndim(value) or isinstance(value, str):
        raise TypeError
    return float(value)


def number(value: Any) -> Float:
    """A rate as the type that the schedule is computed in."""
    dtype = getattr(value, "dtype", None)
    return np.float64(value) if dtype == np.float64 else np.float32(value)
