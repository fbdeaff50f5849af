# SPDX-License-Identifier: Apache-2.0
"""Runs of Keras's optimizers: configurations, problems, and how one is run in any library.

A library is a module with `optimizer`, `schedule`, `variable`, `gradient`, `slices` and `value`:
keras_slotwise.py or keras_tensorflow.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from support.reference import Array

Gradient = Array | tuple[Array, Array] | None  # dense, values and indices, none


@dataclass(frozen=True)
class Schedule:
    name: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Config:
    """An optimizer with its arguments; `events` set attributes before a step."""

    optimizer: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    events: dict[int, dict[str, Any]] = field(default_factory=dict)
    constraint: tuple[float, float] | None = None
    api: str = "legacy"  # or "current"
    not_decaying: tuple[tuple[str, ...], tuple[str, ...]] | None = None  # variables, patterns

    def __str__(self) -> str:
        parts = [f"{key}={_text(value)}" for key, value in self.kwargs.items()]
        parts += [f"{step}:{_text(change)}" for step, change in self.events.items()]
        parts += [f"constraint={self.constraint}"] if self.constraint else []
        parts += [f"not_decaying={self.not_decaying}"] if self.not_decaying else []
        return " ".join([self.optimizer, *parts])

    @property
    def is_scheduled(self) -> bool:
        """Whether the rate has float32's precision only, in its last bits of a library's own."""
        values = [self.kwargs.get("learning_rate")]
        values += [change.get("learning_rate") for change in self.events.values()]
        return any(isinstance(value, Schedule) for value in values)


def _text(value: Any) -> str:
    return value.name if isinstance(value, Schedule) else str(value).replace(" ", "")


@dataclass(frozen=True)
class Problem:
    """Variables, and their gradients at each step."""

    variables: dict[str, Array]
    gradients: list[dict[str, Gradient]]

    def astype(self, dtype: Any) -> Problem:
        return Problem(
            {name: x.astype(dtype) for name, x in self.variables.items()},
            [{name: _cast(g, dtype) for name, g in step.items()} for step in self.gradients],
        )


def _cast(gradient: Gradient, dtype: Any) -> Gradient:
    if gradient is None:
        return None
    if isinstance(gradient, tuple):
        return gradient[0].astype(dtype), gradient[1]
    return gradient.astype(dtype)


def single(rng: np.random.Generator, shape: tuple[int, ...], scale: float = 1.0) -> Array:
    """Normal numbers that float32 has, too."""
    x = np.asarray(rng.standard_normal(shape) * scale, np.float32)
    return x.astype(np.float64)


def rows(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> tuple[Array, Array]:
    """A sparse gradient with repeated, unsorted ids."""
    dtype = rng.choice([np.int32, np.int64])
    ids = rng.integers(0, max(1, shape[0] - 1), count)  # the last row is never touched
    return single(rng, (count, *shape[1:])), ids.astype(dtype)


_SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "dense": {"a": (3, 5), "b": (17,), "c": ()},
    "rows": {"a": (6, 3), "b": (5,), "c": (2, 2, 2)},
}
_SMALL_SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "dense": {"a": (2, 3), "b": (3,), "c": ()},
    "rows": {"a": (4, 2), "b": (3,), "c": (2, 1, 2)},
}


def draw_problem(
    rng: np.random.Generator, steps: int, kind: str, is_small: bool = False
) -> Problem:
    """`kind`: "dense", "sparse" or "mixed"; the last has gradients of either kind, and none."""
    shapes = (_SMALL_SHAPES if is_small else _SHAPES)["dense" if kind == "dense" else "rows"]
    gradients = []
    for step in range(steps):
        of_step: dict[str, Gradient] = {}
        for name, shape in shapes.items():
            scale = 10.0 if step == 3 else 1.0
            is_sparse = kind == "sparse" or (
                kind == "mixed" and (name == "a" or (name == "b" and step % 2 == 1))
            )
            if is_sparse:
                of_step[name] = rows(rng, shape, int(rng.integers(0, 6)))
            elif kind == "mixed" and name == "b" and step % 3 == 2:
                of_step[name] = None
            else:
                of_step[name] = single(rng, shape, scale)
        gradients.append(of_step)
    return Problem({name: single(rng, shape) for name, shape in shapes.items()}, gradients)


@dataclass(frozen=True)
class Trajectory:
    names: list[str]  # of the variables and weights
    shapes: list[tuple[int, ...]]
    states: Array  # a row for each step
    config_before: dict[str, Any]
    config_after: dict[str, Any]
    slot_names: list[str]


def make(library: Any, value: Any) -> Any:
    """An argument of an optimizer in a library."""
    if isinstance(value, Schedule):
        return library.schedule(value.name, value.config)
    return value


def run(library: Any, config: Config, problem: Problem) -> Trajectory:
    """Runs of all steps; the state is that of the variables, then of the weights in order."""
    kwargs = {key: make(library, value) for key, value in config.kwargs.items()}
    opt = library.optimizer(config.optimizer, kwargs, config.api)
    is_legacy = config.api == "legacy"
    before = plain(opt.get_config())
    variables = {
        name: library.variable(x, name, config.constraint) for name, x in problem.variables.items()
    }
    if config.not_decaying is not None:
        names, patterns = config.not_decaying
        opt.exclude_from_weight_decay([variables[name] for name in names], list(patterns))
    states: list[Array] = []
    labels: list[str] = []
    shapes: list[tuple[int, ...]] = []
    for step, gradients in enumerate(problem.gradients):
        for name, value in config.events.get(step, {}).items():
            if name == "iterations":
                opt.iterations.assign(value)
            else:
                setattr(opt, name, make(library, value))
        pairs = []
        for name, var in variables.items():
            gradient = gradients[name]
            if isinstance(gradient, tuple):
                gradient = library.slices(*gradient, problem.variables[name].shape)
            elif gradient is not None:
                gradient = library.gradient(gradient)
            pairs.append((gradient, var))
        opt.apply_gradients(pairs)
        weights = opt.weights if is_legacy else opt.variables
        labels = [*variables, *(weight_name(weight) for weight in weights)]
        arrays = [library.value(x) for x in (*variables.values(), *weights)]
        shapes = [x.shape for x in arrays]
        states.append(np.concatenate([np.ravel(x).astype(np.float64) for x in arrays]))
    slot_names = list(opt.get_slot_names()) if is_legacy else []
    return Trajectory(labels, shapes, _rows(states), before, plain(opt.get_config()), slot_names)


def _rows(states: list[Array]) -> Array:
    """As a matrix; a state that grew later is filled up by NaN."""
    out = np.full((len(states), max(state.size for state in states)), np.nan)
    for i, state in enumerate(states):
        out[i, : state.size] = state
    return out


def weight_name(weight: Any) -> str:
    """`SGD/emb/momentum:0` or `emb/momentum` as `emb/momentum`."""
    parts = weight.name.split(":")[0].split("/")
    is_alone = parts[-1] in ("iter", "iteration", "momentum_cache")
    return parts[-1] if is_alone else "/".join(parts[-2:])


def plain(value: Any) -> Any:
    """Without NumPy's scalars."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def rounded_like(got: Any, want: Any) -> Any:
    """A config with each number as a float32 variable has it, where another config shows that."""
    if isinstance(got, dict):
        return {key: rounded_like(value, want.get(key)) for key, value in got.items()}
    if isinstance(got, float) and got != want:
        return float(np.float32(got))
    return got


def assert_close(got: Trajectory, want: Trajectory, dtype: Any, scheduled: bool) -> None:
    assert got.names == want.names
    assert got.shapes == want.shapes
    assert got.slot_names == want.slot_names
    rtol = 1e-5 if np.dtype(dtype) == np.float32 else 1e-6 if scheduled else 1e-10
    atol = 1e-6 if np.dtype(dtype) == np.float32 else 1e-12
    np.testing.assert_allclose(got.states, want.states, rtol=rtol, atol=atol, equal_nan=True)


# ----- configurations --------------------------------------------------------------------------

_EXPONENTIAL = Schedule(
    "ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.5}
)
SCHEDULES = (
    _EXPONENTIAL,
    Schedule("ExponentialDecay", {**_EXPONENTIAL.config, "staircase": True}),
    Schedule("PiecewiseConstantDecay", {"boundaries": [1, 3], "values": [0.1, 0.05, 0.01]}),
    Schedule(
        "PolynomialDecay",
        {
            "initial_learning_rate": 0.1,
            "decay_steps": 4,
            "end_learning_rate": 0.01,
            "power": 2.0,
        },
    ),
    Schedule(
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 3, "power": 0.5, "cycle": True},
    ),
    Schedule(
        "InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5}
    ),
    Schedule("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "alpha": 0.1}),
    Schedule(
        "CosineDecay",
        {
            "initial_learning_rate": 0.01,
            "decay_steps": 6,
            "warmup_target": 0.1,
            "warmup_steps": 3,
        },
    ),
    Schedule(
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 3, "m_mul": 0.8, "alpha": 0.02},
    ),
    Schedule(
        "CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 4, "t_mul": 1.0}
    ),
)
CLIPS: tuple[dict[str, float], ...] = (
    {"clipvalue": 0.5},
    {"clipnorm": 1.0},
    {"global_clipnorm": 1.0},
    {"clipvalue": 0.8, "clipnorm": 1.0},
    {"clipvalue": 0.8, "global_clipnorm": 1.0},
)
_RATES = {
    "SGD": 0.1,
    "RMSprop": 0.02,
    "Adagrad": 0.1,
    "Adadelta": 1.0,
    "Adam": 0.05,
    "Adamax": 0.05,
    "Nadam": 0.05,
    "Ftrl": 0.1,
}
_VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "SGD": (
        *({"learning_rate": schedule} for schedule in SCHEDULES),
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "learning_rate": _EXPONENTIAL, "decay": 0.2},
        {"clipnorm": 0.0},
    ),
    "RMSprop": (
        {"rho": 0.7},
        {"momentum": 0.9},
        {"centered": True},
        {"centered": True, "momentum": 0.9},
        {"epsilon": 0.01},
        {"epsilon": 0.01, "momentum": 0.5},
        {"epsilon": 0.01, "momentum": 0.5, "centered": True, "rho": 0.7},
        {"decay": 0.1},
    ),
    "Adagrad": (
        {"initial_accumulator_value": 0.0},
        {"initial_accumulator_value": 1.0, "epsilon": 0.05},
        {"decay": 0.1},
    ),
    "Adadelta": ({"rho": 0.5, "epsilon": 0.001}, {"decay": 0.1}),
    "Adam": (
        {"amsgrad": True},
        {"beta_1": 0.7, "beta_2": 0.8},
        {"beta_1": 0.7, "beta_2": 0.8, "amsgrad": True},
        {"epsilon": 0.05},
        {"epsilon": 0.0},
        {"learning_rate": _EXPONENTIAL, "amsgrad": True},
        {"decay": 0.1},
    ),
    "Adamax": ({"beta_1": 0.7, "beta_2": 0.8}, {"epsilon": 0.05}, {"decay": 0.1}),
    "Nadam": (
        {"beta_1": 0.7, "beta_2": 0.8},
        {"epsilon": 0.05},
        {"schedule_decay": 0.1},
    ),
    "Ftrl": (
        {"initial_accumulator_value": 1.0},
        {"l1_regularization_strength": 0.4},
        {"l2_regularization_strength": 0.3},
        {"l2_shrinkage_regularization_strength": 0.2},
        {"beta": 0.5},
        {"learning_rate_power": -0.3},
        {"learning_rate_power": 0.0},
        {
            "l1_regularization_strength": 0.4,
            "l2_regularization_strength": 0.3,
            "l2_shrinkage_regularization_strength": 0.2,
            "beta": 0.5,
            "learning_rate_power": -0.7,
            "decay": 0.1,
        },
    ),
}
_CHANGES: tuple[dict[int, dict[str, Any]], ...] = (
    {2: {"learning_rate": 0.02}},
    {0: {"iterations": 1000}, 3: {"lr": 0.03}},
    {1: {"learning_rate": _EXPONENTIAL}, 4: {"learning_rate": 0.03}},
)


def configs() -> Iterator[Config]:
    for name, rate in _RATES.items():
        basic = {"learning_rate": rate}
        for variant in ({}, *_VARIANTS[name]):
            yield Config(name, {**basic, **variant})
        for clip in CLIPS:
            yield Config(name, {**basic, **clip})
    for events in _CHANGES:
        yield Config("SGD", {"learning_rate": 0.1, "momentum": 0.9}, events)
        yield Config("Adam", {"learning_rate": 0.1}, events)
    yield Config("Nadam", {"learning_rate": 0.1}, _CHANGES[0])
    yield Config("SGD", {"learning_rate": 0.1, "momentum": 0.9}, constraint=(-0.5, 0.5))


_CURRENT_RATES = {**_RATES, "AdamW": 0.05, "Adafactor": 0.05, "Lion": 0.01}
_CURRENT_VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "SGD": (
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"learning_rate": _EXPONENTIAL, "momentum": 0.5},
        {"clipnorm": 0.0, "clipvalue": 0.5},
        {"clipvalue": 0.5},
        {"clipvalue": 0.5, "global_clipnorm": 1.0},
    ),
    "RMSprop": (
        {"rho": 0.7},
        {"momentum": 0.9},
        {"centered": True, "epsilon": 0.01},
        {"epsilon": 0.01, "momentum": 0.5, "centered": True, "rho": 0.7},
        {"epsilon": 0.01, "momentum": 0.5},
        {"clipnorm": 1.0},
    ),
    "Adagrad": (
        {"initial_accumulator_value": 0.0},
        {"initial_accumulator_value": 1.0, "epsilon": 0.05},
        {"global_clipnorm": 1.0},
    ),
    "Adadelta": ({"rho": 0.5, "epsilon": 0.001}, {"clipvalue": 0.5}),
    "Adam": (
        {"amsgrad": True},
        {"beta_1": 0.7, "beta_2": 0.8, "amsgrad": True},
        {"epsilon": 0.05},
        {"epsilon": 0.05, "adaptive_epsilon": True},
        {"learning_rate": _EXPONENTIAL, "clipnorm": 1.0},
    ),
    "AdamW": (
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "amsgrad": True},
        {"weight_decay": 0.1, "beta_1": 0.7, "beta_2": 0.8, "epsilon": 0.05},
        {"weight_decay": 0.1, "learning_rate": _EXPONENTIAL},
    ),
    "Adamax": ({"beta_1": 0.7, "beta_2": 0.8}, {"epsilon": 0.05}),
    "Nadam": (
        {"beta_1": 0.7, "beta_2": 0.8},
        {"epsilon": 0.05},
        {"learning_rate": _EXPONENTIAL},
    ),
    "Ftrl": (
        {"initial_accumulator_value": 1.0, "learning_rate_power": -1.0},
        {"l1_regularization_strength": 0.4, "learning_rate_power": 0.0},
        {
            "l1_regularization_strength": 0.4,
            "l2_regularization_strength": 0.3,
            "l2_shrinkage_regularization_strength": 0.2,
            "beta": 0.5,
        },
    ),
    "Adafactor": (
        {"relative_step": False, "learning_rate": 5.0},
        {"beta_2_decay": -0.5, "clip_threshold": 0.5},
        {"epsilon_1": 0.01, "epsilon_2": 0.5},
        {"learning_rate": _EXPONENTIAL},
    ),
    "Lion": ({"beta_1": 0.5, "beta_2": 0.7}, {"clipnorm": 1.0}),
}
_EMA = {"use_ema": True, "ema_momentum": 0.8}
_SURROUNDINGS: tuple[dict[str, Any], ...] = (
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, **_EMA, "ema_overwrite_frequency": 3},
)


def current_configs() -> Iterator[Config]:
    for name, rate in _CURRENT_RATES.items():
        basic = {"learning_rate": rate}
        for variant in ({}, *_CURRENT_VARIANTS[name], *_SURROUNDINGS):
            yield Config(name, {**basic, **variant}, api="current")
    adamw = {"learning_rate": 0.05, "weight_decay": 0.1}
    yield Config("AdamW", adamw, api="current", not_decaying=(("a",), ("^c",)))
    sgd = {"learning_rate": 0.1, "momentum": 0.9, **_EMA}
    frequency = {"ema_overwrite_frequency": 2}
    yield Config("SGD", sgd, api="current")
    yield Config("SGD", {**sgd, **frequency}, constraint=(-0.5, 0.5), api="current")
    for name in ("SGD", "Adam", "Nadam", "Adafactor"):
        for events in _CHANGES[:2]:
            yield Config(name, {"learning_rate": 0.1}, events, api="current")


GOLDEN_STEPS = 5
CONFIGS = {"legacy": tuple(configs()), "current": tuple(current_configs())}
# The states that the golden files have; those of the current API are of many small problems.
KEPT_STEPS = {"legacy": (0, 1, 2, 3, 4), "current": (1, 4)}
KINDS = ("mixed", "dense", "sparse")


def golden_problems(api: str, number: int) -> list[Problem]:
    """The problems of a configuration in the golden file.

    In the legacy API, the kinds take turns; in the current one, it has all of them.
    """
    if api == "current":
        return [
            draw_problem(np.random.default_rng([number, i]), GOLDEN_STEPS, kind, is_small=True)
            for i, kind in enumerate(KINDS)
        ]
    kind = "dense" if CONFIGS[api][number].constraint else KINDS[number % len(KINDS)]
    return [draw_problem(np.random.default_rng(number), GOLDEN_STEPS, kind)]
