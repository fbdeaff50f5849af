# SPDX-License-Identifier: Apache-2.0
"""Everything derived from raw samples; nothing here is stored, so it can always be redone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Minimum, quartiles and maximum of a row of samples."""

    minimum: float
    low: float
    median: float
    high: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(*(float(q) for q in np.quantile(values, (0, 0.25, 0.5, 0.75, 1))))


@dataclass(frozen=True)
class Ratio:
    """How many times faster ours is: from the minima, and over the pairs of each round."""

    minima: float
    pairs: Spread

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        pairs = [b / a for a, b in zip(ours, theirs, strict=True)]
        return cls(min(theirs) / min(ours), Spread.of(pairs))


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
