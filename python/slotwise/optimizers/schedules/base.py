"""What the schedules built in share."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from slotwise.optimizers._kinds import Checked
from slotwise.optimizers._schedule import LearningRateSchedule

Float: TypeAlias = Any  # a NumPy float32 or float64


class ConfiguredSchedule(Checked, LearningRateSchedule):
    """A schedule that keeps its constructor's arguments as attributes, in the order of `_kinds`.

    It computes in float32, or in float64 if its rate is a NumPy float64.
    """

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as a dict."""
        return {key: getattr(self, key) for key in self._kinds}


def number(value: Any) -> Float:
    """A rate as the type that the schedule is computed in."""
    dtype = getattr(value, "dtype", None)
    return np.float64(value) if dtype == np.float64 else np.float32(value)
