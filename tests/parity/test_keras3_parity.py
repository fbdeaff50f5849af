# SPDX-License-Identifier: Apache-2.0
"""The current API against Keras 3, live: numbers, configs and lists of weights."""

from __future__ import annotations

import json
import warnings
from typing import Any

import keras
import numpy as np
import pytest
from slotwise import interop, optimizers
from slotwise.optimizers import schedules
from support import keras_cases, keras_keras3, keras_slotwise
from support.keras_cases import Problem, Schedule
from support.keras_draws import Random, draw_kwargs, draw_schedule
from support.reference import Array

NAMES = (
    *("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam", "Ftrl"),
    *("Adafactor", "Lion", "Lamb"),
)
every = pytest.mark.parametrize("name", NAMES)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
STEPS = 7


def draw(rng: Random, name: str) -> dict[str, Any]:
    """Arguments that both have."""
    kwargs = draw_kwargs(rng, name, "current")
    kwargs.pop("adaptive_epsilon", None)
    rate = kwargs["learning_rate"]
    if not isinstance(rate, Schedule):
        kwargs["learning_rate"] = float(rate() if callable(rate) else rate)
    limits = [key for key in ("clipnorm", "global_clipnorm", "clipvalue") if key in kwargs]
    for limit in limits[1:]:
        del kwargs[limit]
    for key in ("weight_decay", "momentum"):
        if key in kwargs:
            kwargs[key] = float(kwargs[key])
    if name in ("Adagrad", "Ftrl"):  # Keras 3 rounds it to float32
        kwargs["initial_accumulator_value"] = float(rng.integers(1, 64)) / 64
    if rng.integers(3) == 0:
        kwargs["gradient_accumulation_steps"] = int(rng.integers(2, 4))
    return kwargs


def draw_problem(rng: Random, kind: str) -> Problem:
    """Ids do not repeat: Keras 3 squares each gradient of a row, not their sum."""
    problem = keras_cases.draw_problem(rng, STEPS, kind)
    for step in problem.gradients:
        for name, gradient in step.items():
            if isinstance(gradient, tuple):
                values, ids = gradient
                rows, first = np.unique(ids, return_index=True)
                step[name] = values[first], rows
    return problem


class Run:
    """An optimizer of a library and its variables."""

    def __init__(
        self,
        library: Any,
        name: str,
        kwargs: dict[str, Any],
        problem: Problem,
        constraint: tuple[float, float] | None = None,
        not_decaying: tuple[list[str], list[str]] | None = None,
    ) -> None:
        self.library, self.problem = library, problem
        given = {key: keras_cases.make(library, value) for key, value in kwargs.items()}
        self.opt = library.optimizer(name, given, "current")
        self.variables = {
            key: library.variable(x, key, constraint) for key, x in problem.variables.items()
        }
        if not_decaying is not None:
            names, patterns = not_decaying
            self.opt.exclude_from_weight_decay([self.variables[key] for key in names], patterns)
        self.opt.build([*self.variables.values()])

    def step(self, number: int) -> None:
        pairs = []
        for name, var in self.variables.items():
            gradient = self.problem.gradients[number][name]
            if isinstance(gradient, tuple):
                gradient = self.library.slices(*gradient, self.problem.variables[name].shape)
            elif gradient is not None:
                gradient = self.library.gradient(gradient)
            pairs.append((gradient, var))
        self.opt.apply_gradients(pairs)

    def values(self) -> list[Array]:
        return [self.library.value(var) for var in self.variables.values()]

    def weights(self) -> list[Array]:
        if self.library is keras_slotwise:
            return interop.keras_weights(self.opt, keras=3)
        return [self.library.value(weight) for weight in self.opt.variables]


def assert_close(got: list[Array], want: list[Array], is_single: bool, is_rounded: bool) -> None:
    """`is_rounded`: one of the two has float32 numbers where the other has exact ones."""
    assert [x.shape for x in got] == [x.shape for x in want]
    rtol, atol = (1e-5, 1e-6) if is_single else (1e-6, 1e-7) if is_rounded else (1e-10, 1e-12)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@every
@pytest.mark.parametrize("block", range(6))
def test_trajectories(name: str, block: int) -> None:
    for case in range(6):
        rng = np.random.default_rng([block, case])
        kwargs = draw(rng, name)
        kind = str(rng.choice(["dense", "sparse", "mixed"]))
        if "gradient_accumulation_steps" in kwargs and kind == "mixed":
            kind = "dense"  # see test_gradients_that_are_missing_when_an_update_is_due
        if kind == "dense" and rng.integers(3) == 0:
            kwargs["loss_scale_factor"] = 8.0
        if kwargs.get("use_ema"):
            frequency = kwargs["ema_overwrite_frequency"]
            kwargs["ema_overwrite_frequency"] = frequency and int(frequency)
        dtype = np.float64 if case % 3 or name == "Ftrl" else np.float32
        problem = draw_problem(rng, kind).astype(dtype)
        constraint = (-0.5, 0.75) if rng.random() < 0.25 else None
        excluded = (["a"], ["^b"]) if rng.random() < 0.3 else None
        own = {**kwargs, **({"ema_variant": "keras3"} if kwargs.get("use_ema") else {})}
        ours = Run(keras_slotwise, name, own, problem, constraint, excluded)
        theirs = Run(keras_keras3, name, kwargs, problem, constraint, excluded)
        is_rounded = isinstance(kwargs["learning_rate"], Schedule) or name == "Nadam"
        try:
            for number in range(STEPS):
                for run in (ours, theirs):
                    run.step(number)
                single = dtype == np.float32
                assert_close(ours.values(), theirs.values(), single, is_rounded)
                assert_close(ours.weights(), theirs.weights(), single, is_rounded)
                assert int(ours.opt.iterations) == int(theirs.opt.iterations)
        except AssertionError as error:
            what = f"{name}({kwargs}), {kind}, {np.dtype(dtype)}, {constraint}, case {case}"
            raise AssertionError(what) from error


def test_gradients_that_are_missing_when_an_update_is_due() -> None:
    """Keras drops what was added up; here it counts."""
    a, b = (np.ones(2), np.zeros(2))
    gradients: list[dict[str, Any]] = [{"a": a, "b": a}, {"a": a, "b": None}]
    problem = Problem({"a": b, "b": b}, gradients)
    kwargs = {"learning_rate": 1.0, "gradient_accumulation_steps": 2}
    runs = [Run(lib, "SGD", kwargs, problem) for lib in (keras_slotwise, keras_keras3)]
    for run in runs:
        run.step(0)
        run.step(1)
    ours, theirs = (run.values() for run in runs)
    assert ours[0].tolist() == theirs[0].tolist() == [-1, -1]
    assert ours[1].tolist() == [-0.5, -0.5]
    assert theirs[1].tolist() == [0, 0]


@every
def test_repeated_ids_are_summed_before_they_are_squared(name: str) -> None:
    """As in Keras 2; in Keras 3, unless gradients are accumulated, squares are summed."""
    if name in ("SGD", "Lion"):
        return
    shape = (4, 2)
    values = np.random.default_rng(0).standard_normal((2, 3, 2))
    repeated = [{"a": (x, np.array([2, 0, 2]))} for x in values]
    summed = [{"a": (np.array([x[0] + x[2], x[1]]), np.array([2, 0]))} for x in values]
    variables = {"a": np.ones(shape)}
    results = []
    for library, gradients in (
        *((keras_slotwise, gradients) for gradients in (repeated, summed)),
        *((keras_keras3, gradients) for gradients in (repeated, summed)),
    ):
        run = Run(library, name, {"learning_rate": 0.1}, Problem(variables, gradients))
        run.step(0)
        run.step(1)
        results.append(run.values()[0])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)
    np.testing.assert_allclose(results[0], results[3], rtol=1e-9)
    assert not np.allclose(results[0], results[2], rtol=1e-6)


# ----- configs -----------------------------------------------------------------------------------


def draw_config(rng: Random, name: str) -> dict[str, Any]:
    kwargs = draw(rng, name)
    if rng.integers(2):
        kwargs["loss_scale_factor"] = 1024.0
    if kwargs.get("ema_overwrite_frequency") is not None:
        kwargs["ema_overwrite_frequency"] = int(kwargs["ema_overwrite_frequency"])
    return kwargs


def deserialize(data: dict[str, Any]) -> Any:
    """Have Keras do it. Its `keras.optimizers.deserialize` does not know its own Lamb."""
    if data["class_name"] == "Lamb":
        return keras.saving.deserialize_keras_object(data)
    return keras.optimizers.deserialize(data)


@every
def test_configs_move_in_both_directions(name: str) -> None:
    for case in range(20):
        kwargs = draw_config(np.random.default_rng(case), name)
        given = {key: keras_cases.make(keras_keras3, value) for key, value in kwargs.items()}
        theirs = keras_keras3.optimizer(name, given)
        data = json.loads(json.dumps(keras.optimizers.serialize(theirs)))
        before = json.dumps(data)
        for ours in (
            optimizers.deserialize(data),
            getattr(optimizers, name).from_config(data["config"]),
            optimizers.get(data),
        ):
            assert type(ours) is getattr(optimizers, name)
            assert ours.ema_variant == ("keras3" if theirs.use_ema else "keras2")
            assert ours.get_config()["is_legacy_optimizer"] is False
            back = json.loads(json.dumps(optimizers.serialize(ours, keras=3)))
            assert json.dumps(data) == before
            assert back["config"] == data["config"]
            assert {**back, "config": None} == {**data, "config": None}
            for again in (
                deserialize(json.loads(json.dumps(back))),
                type(theirs).from_config(json.loads(json.dumps(back["config"]))),
            ):
                assert type(again) is type(theirs)
                assert again.get_config() == theirs.get_config()
            own = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(ours))))
            assert own.get_config() == ours.get_config()


@every
def test_our_defaults_are_read_by_keras(name: str) -> None:
    ours = getattr(optimizers, name)()
    theirs = deserialize(optimizers.serialize(ours, keras=3))
    again = optimizers.deserialize(keras.optimizers.serialize(theirs))
    rate = again.get_config().pop("learning_rate")
    assert rate == np.float32(ours.get_config()["learning_rate"])
    assert {**again.get_config(), "learning_rate": None} == {
        **ours.get_config(),
        "learning_rate": None,
    }


def test_whole_numbers_are_read_by_keras() -> None:
    for ours in (optimizers.SGD(1, momentum=0), optimizers.Ftrl(1, beta=1), optimizers.Lamb(1)):
        theirs = deserialize(optimizers.serialize(ours, keras=3))
        assert float(theirs.learning_rate) == 1


def without_name(schedule: Any) -> dict[str, Any]:
    return {key: value for key, value in schedule.get_config().items() if key != "name"}


@pytest.mark.parametrize("block", range(10))
def test_schedules(block: int) -> None:
    for case in range(10):
        drawn = draw_schedule(np.random.default_rng([block, case]))
        ours = keras_slotwise.schedule(drawn.name, drawn.config)
        theirs = keras_keras3.schedule(drawn.name, drawn.config)
        data = keras.optimizers.schedules.serialize(theirs)
        assert without_name(schedules.deserialize(data)) == without_name(ours)
        data = optimizers.serialize(optimizers.Adam(ours), keras=3)
        opt = deserialize(json.loads(json.dumps(data)))
        assert without_name(opt._learning_rate) == without_name(theirs)
        for step in (*range(0, 40, 3), 1000):
            got, want = ours(np.int64(step)), float(theirs(step))
            assert got == pytest.approx(want, rel=2e-6, abs=1e-7), f"{drawn} at {step}"
            assert float(opt._learning_rate(step)) == want


def test_what_keras_3_computes_otherwise_is_refused() -> None:
    wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1))
    with pytest.raises(ValueError, match="got one of Keras 3, whose"):
        optimizers.deserialize(keras.optimizers.serialize(wrapped))
    for other in (keras.optimizers.Muon(), keras.optimizers.ScheduleFreeAdamW()):
        with pytest.raises(ValueError, match="Unknown optimizer"):
            optimizers.deserialize(keras.optimizers.serialize(other))


# ----- lists of weights --------------------------------------------------------------------------


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_move_in_both_directions(name: str, dtype: Any) -> None:
    for case in range(8):
        rng = np.random.default_rng(case)
        kwargs = draw(rng, name)
        kwargs.pop("gradient_accumulation_steps", None)
        if case % 2:
            kwargs["gradient_accumulation_steps"] = 2
        if kwargs.get("use_ema"):
            kwargs["ema_overwrite_frequency"] = None
        own = {**kwargs, **({"ema_variant": "keras3"} if kwargs.get("use_ema") else {})}
        problem = draw_problem(rng, "dense").astype(dtype)
        theirs = Run(keras_keras3, name, kwargs, problem)
        for number in range(3):
            theirs.step(number)
        now = Problem(dict(zip(problem.variables, theirs.values(), strict=True)), problem.gradients)
        if isinstance(kwargs["learning_rate"], float):
            own["learning_rate"] = 0.75  # the rate comes with the weights
        ours = Run(keras_slotwise, name, own, now)
        interop.load_keras_weights(ours.opt, theirs.weights(), keras=3 if case % 3 else None)
        for a, b in zip(ours.weights(), theirs.weights(), strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
        back = Run(keras_keras3, name, kwargs, now)
        back.opt.set_weights(interop.keras_weights(ours.opt, keras=3))
        for number in range(3, STEPS):
            for run in (theirs, ours, back):
                run.step(number)
        is_rounded = isinstance(kwargs["learning_rate"], Schedule) or name == "Nadam"
        for run in (ours, back):
            single = dtype == np.float32
            assert_close(run.values(), theirs.values(), single, is_rounded)
            assert_close(run.weights(), theirs.weights(), single, is_rounded)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            store = {str(i): x for i, x in enumerate(interop.keras_weights(ours.opt, keras=3))}
            back.opt.load_own_variables(store)


# ----- Lamb --------------------------------------------------------------------------------------


def test_lamb_of_keras_own_tests() -> None:
    golden = (0.999, 0.9982, 0.9974, 0.9965, 0.9955)
    for lamb, library in (
        (optimizers.Lamb(), keras_slotwise),
        (keras.optimizers.Lamb(), keras_keras3),
    ):
        x = library.variable(np.ones(10, np.float32), "x")
        first, other = np.full(10, 0.01, np.float32), np.arange(0.1, 1.1, 0.1).astype(np.float32)
        lamb.apply_gradients([(library.gradient(first), x)])
        for want in golden:
            np.testing.assert_allclose(library.value(x), want, rtol=5e-4, atol=5e-4)
            lamb.apply_gradients([(library.gradient(other), x)])
