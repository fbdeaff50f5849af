# SPDX-License-Identifier: Apache-2.0
"""Keras's optimizers as slotwise has them; see keras_cases.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import slotwise
from slotwise import optimizers
from slotwise.optimizers import legacy, schedules
from support.reference import Array


def optimizer(name: str, kwargs: dict[str, Any], api: str = "legacy") -> Any:
    return getattr(legacy if api == "legacy" else optimizers, name)(**kwargs)


def schedule(name: str, config: dict[str, Any]) -> Any:
    return getattr(schedules, name)(**config)


def variable(array: Array, name: str, constraint: tuple[float, float] | None = None) -> Any:
    def clip(var: Any) -> Array:
        return np.clip(var.value, *constraint)

    return slotwise.Variable(array.copy(), name=name, constraint=constraint and clip)


def gradient(array: Array) -> Array:
    return array


def slices(values: Array, indices: Array, shape: tuple[int, ...]) -> Any:
    return slotwise.IndexedSlices(values, indices, shape)


def value(weight: Any) -> Array:
    return weight.numpy()
