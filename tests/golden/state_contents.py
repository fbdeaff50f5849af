# SPDX-License-Identifier: Apache-2.0
"""What the golden state files hold: numbers that need no other source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import slotwise
from slotwise.optimizers import LossScaleOptimizer, Nadam, legacy, schedules

ROWS = np.array([1, 5])


def _adam() -> Any:
    return legacy.Adam(schedules.CosineDecay(0.5, 10), sparse="lazy", amsgrad=True)


def _nadam() -> Any:
    return Nadam(0.5, sparse="lazy", weight_decay=0.25, use_ema=True, ema_overwrite_frequency=3)


# For each API: the folder, after the version of the format; the name of the files; the optimizer.
KINDS = {"legacy": ("state-1", "adam", _adam), "current": ("state-1-current", "nadam", _nadam)}


class Job:
    """An optimizer with loss scaling, on variables of four dtypes."""

    def __init__(self, api: str) -> None:
        folder, name, make = KINDS[api]
        self.folder = Path(__file__).parent / folder
        self.one_file, self.several = (self.folder / n for n in (f"{name}.safetensors", name))
        self.delta = self.folder / "delta.safetensors"
        kinds = (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)
        self.variables = [
            slotwise.Variable((np.arange(12) - 3).reshape(6, 2).astype(kind), name=f"v{n}")
            for n, kind in enumerate(kinds)
        ]
        self.optimizer = LossScaleOptimizer(make(), initial_scale=8.0, dynamic_growth_steps=3)
        self.extra = {"epoch": 3, "note": "\u00fc"}

    @property
    def given(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer, "variables": self.variables, "extra": self.extra}

    def save(self, path: Path, **more: Any) -> None:
        slotwise.save(path, **self.given, **more)

    def train(self) -> None:
        self.optimizer.get_scaled_loss(1.0)
        self.optimizer.get_unscaled_gradients([])
        for step in range(4):
            self.optimizer.apply_gradients(
                [(np.full((6, 2), step - 1.5, v.dtype), v) for v in self.variables]
            )

    def train_rows(self) -> None:
        self.optimizer.apply_gradients(
            [
                (slotwise.IndexedSlices(np.ones((2, 2), v.dtype), ROWS, v.shape), v)
                for v in self.variables
            ]
        )
