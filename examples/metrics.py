# SPDX-License-Identifier: Apache-2.0
"""How good predictions of clicks are, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Clicks = npt.NDArray[np.bool_]


def sigmoid(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    half = x.dtype.type(0.5)
    y: npt.NDArray[Any] = half + half * np.tanh(half * x)
    return y


def best_constant(share: float, count: int) -> Array:
    """The logit of the share of impressions that was clicked."""
    return np.full(count, np.log(share / (1 - share)), np.float32)


def log_loss(logit: Array, clicked: Clicks) -> float:
    return float(np.logaddexp(0, np.where(clicked, -logit, logit)).mean(dtype=np.float64))


def auc(score: Array, clicked: Clicks) -> float:
    """How probably a click has a higher score than what was not clicked on."""
    others = np.sort(score[~clicked])
    below = np.searchsorted(others, score[clicked], "left")
    not_above = np.searchsorted(others, score[clicked], "right")
    return float((below + not_above).mean() / (2 * len(others)))
