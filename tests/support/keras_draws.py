# SPDX-License-Identifier: Apache-2.0
"""Random schedules and arguments of Keras's optimizers."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from support.keras_cases import Schedule

Random: TypeAlias = np.random.Generator


def rounded(x: float) -> float:
    return float(f"{x:.4g}")


def draw_schedule(rng: Random) -> Schedule:
    rate = {"initial_learning_rate": rounded(rng.uniform(0.001, 0.5))}
    steps = {"decay_steps": int(rng.integers(1, 30))}
    name = str(
        rng.choice(
            [
                "ExponentialDecay",
                "InverseTimeDecay",
                "PiecewiseConstantDecay",
                "PolynomialDecay",
                "CosineDecay",
                "CosineDecayRestarts",
            ]
        )
    )
    if name in ("ExponentialDecay", "InverseTimeDecay"):
        rest = {"decay_rate": rounded(rng.uniform(0.1, 1.05)), "staircase": bool(rng.integers(2))}
        return Schedule(name, {**rate, **steps, **rest})
    if name == "PiecewiseConstantDecay":
        count = int(rng.integers(1, 5))
        boundaries = np.sort(rng.choice(30, count, replace=False)).tolist()
        values = [rounded(x) for x in rng.uniform(0.001, 0.5, count + 1)]
        return Schedule(name, {"boundaries": boundaries, "values": values})
    if name == "PolynomialDecay":
        rest = {
            "end_learning_rate": rounded(rng.uniform(0, 0.01)),
            "power": float(rng.choice([0.5, 1.0, 2.0, 3.0])),
            "cycle": bool(rng.integers(2)),
        }
        return Schedule(name, {**rate, **steps, **rest})
    alpha = {"alpha": float(rng.choice([0.05, 0.1]))}  # at a rate of 0, Keras's Ftrl gives NaN
    if name == "CosineDecay":
        warm = {"warmup_target": rounded(rng.uniform(0.1, 1)), "warmup_steps": int(rng.integers(9))}
        return Schedule(name, {**rate, **steps, **alpha, **(warm if rng.integers(2) else {})})
    rest = {
        "first_decay_steps": int(rng.integers(1, 12)),
        "t_mul": float(rng.choice([1.0, 1.5, 2.0])),
        "m_mul": float(rng.choice([1.0, 0.8])),
    }
    return Schedule(name, {**rate, **rest, **alpha})


def draw_kwargs(rng: Random, name: str, api: str = "legacy") -> dict[str, Any]:
    def perhaps(probability: float = 0.5) -> bool:
        return bool(rng.random() < probability)

    rate = rounded(10 ** rng.uniform(-3, -0.5))
    kwargs: dict[str, Any] = {"learning_rate": rate}
    kind = rng.integers(6)
    if kind == 0:
        kwargs["learning_rate"] = np.float64(rate)
    elif kind == 1 and (api == "current" or name != "Nadam"):
        kwargs["learning_rate"] = draw_schedule(rng)
    elif kind == 2:
        kwargs["learning_rate"] = lambda: rate
    if api == "legacy" and perhaps(0.3):
        kwargs["decay"] = rounded(rng.uniform(0, 0.5))
    if perhaps(0.4):
        kwargs["clipvalue"] = rounded(rng.uniform(0.1, 2))
    if perhaps(0.4):
        key = "clipnorm" if perhaps() else "global_clipnorm"
        kwargs[key] = rounded(rng.uniform(0.1, 4))
    if name in ("SGD", "RMSprop") and perhaps():
        kwargs["momentum"] = rounded(rng.uniform(0, 1))
    if name == "SGD" and perhaps():
        kwargs["nesterov"] = True
    if name == "RMSprop":
        kwargs["centered"] = perhaps()
        kwargs["epsilon"] = 0.01  # centered, the variance may come out below 0
    if name in ("RMSprop", "Adadelta") and perhaps():
        kwargs["rho"] = rounded(rng.uniform(0.3, 0.99))
    if name in ("Adam", "AdamW", "Adamax", "Nadam", "Lion") and perhaps():
        kwargs["beta_1"] = rounded(rng.uniform(0.3, 0.95))
        kwargs["beta_2"] = rounded(rng.uniform(0.3, 0.999))
    if name in ("Adam", "AdamW"):
        kwargs["amsgrad"] = perhaps()
    if name == "Nadam" and api == "legacy" and perhaps():
        kwargs["schedule_decay"] = rounded(rng.uniform(0, 0.5))
    if name in ("Adagrad", "Ftrl") and perhaps():
        kwargs["initial_accumulator_value"] = rounded(rng.uniform(0.01, 1))
    if name not in ("SGD", "Ftrl", "RMSprop", "Adafactor", "Lion") and perhaps():
        kwargs["epsilon"] = rounded(10 ** rng.uniform(-8, -2))
    if name == "Ftrl":
        for key in ("l1", "l2", "l2_shrinkage"):
            if perhaps():
                kwargs[f"{key}_regularization_strength"] = rounded(rng.uniform(0, 0.5))
        if perhaps():
            kwargs["beta"] = rounded(rng.uniform(0, 1))
        if perhaps():
            kwargs["learning_rate_power"] = -rounded(rng.uniform(0, 1))
    if name == "Adafactor" and perhaps():
        kwargs["beta_2_decay"] = -rounded(rng.uniform(0.3, 1))
        kwargs["epsilon_1"] = rounded(10 ** rng.uniform(-30, -2))
        kwargs["epsilon_2"] = rounded(10 ** rng.uniform(-3, 0))
        kwargs["clip_threshold"] = rounded(rng.uniform(0.3, 2))
        kwargs["relative_step"] = perhaps()
    if api == "current":
        kwargs.update(draw_settings(rng, name))
    return kwargs


def draw_settings(rng: Random, name: str) -> dict[str, Any]:
    """What all optimizers of the current API have."""
    settings: dict[str, Any] = {}
    if name == "Adam" and rng.integers(2):
        settings["adaptive_epsilon"] = True
    if rng.integers(2):
        settings["weight_decay"] = rounded(rng.choice([0, rng.uniform(0, 0.5)]))
    if rng.integers(2):
        settings["use_ema"] = True
        settings["ema_momentum"] = rounded(rng.uniform(0, 1))
        settings["ema_overwrite_frequency"] = rng.choice([None, 0, 1, 2, 3])
    return settings
