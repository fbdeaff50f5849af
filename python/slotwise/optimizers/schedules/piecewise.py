# SPDX-License-Identifier: Apache-2.0
"""Piecewise constant rates."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from slotwise.optimizers._kinds import NUMBERS, TEXT, Kind
from slotwise.optimizers.schedules.base import ConfiguredSchedule, Float, number


class PiecewiseConstantDecay(ConfiguredSchedule):
    """A rate that changes after given steps.

        rate = values[k], k = the number of boundaries below step

    so that a boundary itself still has the value to its left.

    Args:
        boundaries: ascending steps.
        values: rates, one more than boundaries.
        name: kept in the config.

    Raises:
        TypeError, ValueError: arguments that do not fit, boundaries that do not ascend.

    Example:
        >>> from slotwise.optimizers import schedules
        >>> rate = schedules.PiecewiseConstantDecay([100, 200], [1.0, 0.5, 0.25])
        >>> float(rate(100)), float(rate(101)), float(rate(1000))
        (1.0, 0.5, 0.25)

    Source: Keras, ``keras.optimizers.schedules.PiecewiseConstantDecay``.
    """

    _kinds: ClassVar[Mapping[str, Kind]] = {
        "boundaries": NUMBERS,
        "values": NUMBERS,
        "name": TEXT,
    }

    def __init__(
        self, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None
    ) -> None:
        self.boundaries = boundaries
        self.values = values
        self.name = name
        if len(self.boundaries) != len(self.values) - 1:
            raise ValueError(
                "The length of boundaries should be 1 less than the length of values. Received: "
                f"boundaries={boundaries} of length {len(self.boundaries)}, and values={values} of "
                f"length {len(self.values)}."
            )
        if any(left >= right for left, right in itertools.pairwise(self.boundaries)):
            raise ValueError(
                "PiecewiseConstantDecay: boundaries: expected ascending steps, "
                f"got {self.boundaries}"
            )

    def __call__(self, step: Any) -> Float:
        at = self._at(step, np.float64)
        return number(self.values[sum(boundary < at for boundary in self.boundaries)])
