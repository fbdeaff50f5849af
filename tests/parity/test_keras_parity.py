# SPDX-License-Identifier: Apache-2.0
"""The optimizers of both APIs against those of tf_keras, live, on random cases."""

from __future__ import annotations

import json
import logging
import warnings
from typing import Any

import numpy as np
import pytest
import slotwise
import tensorflow as tf
import tf_keras
from slotwise import optimizers
from support import keras_cases, keras_slotwise, keras_tensorflow
from support.keras_cases import Config, Schedule
from support.keras_draws import Random, draw_kwargs, draw_schedule, rounded

logging.getLogger("tensorflow").setLevel(logging.ERROR)
logging.getLogger("slotwise").setLevel(logging.ERROR)

NAMES = ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam", "Ftrl")
CURRENT_NAMES = (*NAMES, "AdamW", "Adafactor", "Lion")
KINDS = ("dense", "sparse", "mixed")


def draw_config(rng: Random, name: str, api: str = "legacy") -> Config:
    kwargs = draw_kwargs(rng, name, api)
    events: dict[int, dict[str, Any]] = {}
    is_schedule = isinstance(kwargs["learning_rate"], Schedule)
    is_fixed = is_schedule if api == "current" else callable(kwargs["learning_rate"])
    if rng.random() < 0.3 and not is_fixed:
        events[1] = {"lr": rounded(rng.uniform(0.001, 0.1))}
    if rng.random() < 0.2:
        events[2] = {"iterations": int(rng.integers(0, 5000))}
    if api == "legacy":
        return Config(name, kwargs, events)
    constraint = (-0.5, 0.75) if rng.random() < 0.25 else None
    chosen = tuple(str(name) for name in rng.choice(["a", "b", "c"], int(rng.integers(3))))
    patterns = tuple(str(name) for name in rng.choice(["a", "^b", "c|d", "x"], 1))
    not_decaying = (chosen, patterns) if rng.random() < 0.3 else None
    return Config(name, kwargs, events, constraint, api, not_decaying)


BLOCK = 12  # cases in a test
OF_APIS = [("legacy", name) for name in NAMES] + [("current", name) for name in CURRENT_NAMES]


@pytest.mark.parametrize("block", range(24))
@pytest.mark.parametrize(("api", "name"), OF_APIS)
def test_trajectories(api: str, name: str, block: int) -> None:
    for case in range(BLOCK):
        rng = np.random.default_rng([block, case])
        config = draw_config(rng, name, api)
        # In float32 the differences of powers that Ftrl takes have few digits in common.
        dtype = np.float64 if case % 3 or name == "Ftrl" else np.float32
        kind = KINDS[case % len(KINDS)] if case % 2 else KINDS[int(rng.integers(3))]
        problem = keras_cases.draw_problem(rng, 4, kind).astype(dtype)
        ours = keras_cases.run(keras_slotwise, config, problem)
        theirs = keras_cases.run(keras_tensorflow, config, problem)
        try:
            keras_cases.assert_close(ours, theirs, dtype, config.is_scheduled)
            assert_same_config(ours.config_before, theirs.config_before)
            assert_same_config(ours.config_after, theirs.config_after)
        except AssertionError as error:
            raise AssertionError(f"{config}, {kind}, {np.dtype(dtype)}, case {case}") from error


def assert_same_config(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Ours has the numbers that were given, Keras's what its float32 variables made of them."""
    assert list(ours) == list(theirs)
    assert keras_cases.rounded_like(ours, theirs) == theirs


@pytest.mark.parametrize("block", range(20))
def test_schedules(block: int) -> None:
    for case in range(25):
        drawn = draw_schedule(np.random.default_rng([block, case]))
        ours = keras_slotwise.schedule(drawn.name, drawn.config)
        theirs = keras_tensorflow.schedule(drawn.name, drawn.config)
        assert ours.get_config() == theirs.get_config()
        for legacy in (False, True):
            data = optimizers.schedules.serialize(ours, legacy)
            assert data == tf_keras.optimizers.schedules.serialize(theirs, legacy)
            again = optimizers.schedules.deserialize(json.loads(json.dumps(data)))
            assert again.get_config() == ours.get_config()
        for step in (*range(0, 40, 3), 1000):
            got, want = ours(np.float32(step)), theirs(tf.constant(step, tf.float32)).numpy()
            assert got == pytest.approx(want, rel=2e-6, abs=1e-7), f"{drawn} at {step}"


@pytest.mark.parametrize(("api", "name"), OF_APIS)
def test_configs_move_in_both_directions(api: str, name: str) -> None:
    for case in range(20):
        kwargs = draw_kwargs(np.random.default_rng(case), name, api)
        if callable(kwargs["learning_rate"]):
            kwargs["learning_rate"] = 0.1
        given = {key: keras_cases.make(keras_slotwise, value) for key, value in kwargs.items()}
        ours = keras_slotwise.optimizer(name, given, api)
        given = {key: keras_cases.make(keras_tensorflow, value) for key, value in kwargs.items()}
        theirs = keras_tensorflow.optimizer(name, given, api)
        for legacy in (False, True):
            mine = optimizers.serialize(ours, legacy)
            want = keras_cases.plain(tf_keras.optimizers.serialize(theirs, legacy))
            assert keras_cases.rounded_like(mine, want) == want
            data = json.loads(json.dumps(mine))
            assert optimizers.serialize(optimizers.deserialize(data), legacy) == mine
        config = json.loads(json.dumps(ours.get_config()))
        if api == "current" or not (
            name == "Adagrad" and isinstance(config["learning_rate"], dict)
        ):
            restored = type(theirs).from_config(dict(config))  # Keras's Adagrad loses schedules
            want = keras_cases.plain(theirs.get_config())
            if api == "current" or name != "Nadam":  # Keras's loses schedule_decay
                assert keras_cases.plain(restored.get_config()) == want


@pytest.mark.parametrize("name", NAMES)
def test_weights_move_in_both_directions(name: str) -> None:
    for case in range(6):
        rng = np.random.default_rng(case)
        more: dict[str, Any] = {"Adam": {"amsgrad": bool(case % 2)}, "SGD": {"momentum": 0.9}}
        config = Config(name, {"learning_rate": 0.1, **more.get(name, {})})
        problem = keras_cases.draw_problem(rng, 2, "dense").astype(np.float32)
        libraries = (keras_slotwise, keras_tensorflow)
        states = []
        for library in libraries:
            opt = library.optimizer(name, config.kwargs)
            variables = {k: library.variable(x, k) for k, x in problem.variables.items()}
            for gradients in problem.gradients:
                opt.apply_gradients(
                    [(library.gradient(gradients[k]), var) for k, var in variables.items()]
                )
            states.append((opt, variables))
        (ours, _), (theirs, _) = states
        ours.set_weights(theirs.get_weights())
        for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            assert np.array_equal(a, b)
        theirs.set_weights(ours.get_weights())
        weights = theirs.get_weights()
        shapes = {k: x.shape for k, x in problem.variables.items()}
        older = [*weights, *(np.zeros(shape, np.float32) for shape in shapes.values())]
        for changed in (weights[1:], weights[:-1], older, [*weights[:-1], np.zeros(7)]):
            outcomes = []
            for opt, _ in states:
                try:
                    opt.set_weights(changed)
                    outcomes.append([np.asarray(w.numpy()).tolist() for w in opt.weights])
                except ValueError as error:
                    outcomes.append(str(error).partition("Provided weights")[0])
            assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("name", CURRENT_NAMES)
def test_variables_move_in_both_directions(name: str) -> None:
    for case in range(6):
        rng = np.random.default_rng(case)
        kwargs: dict[str, Any] = {"use_ema": bool(case % 2)}
        if name in ("Adam", "AdamW"):
            kwargs["amsgrad"] = case > 2
        problem = keras_cases.draw_problem(rng, 2, "mixed").astype(np.float32)
        stores: list[dict[str, Any]] = []
        states = []
        for library in (keras_slotwise, keras_tensorflow):
            opt = library.optimizer(name, kwargs, "current")
            variables = {k: library.variable(x, k) for k, x in problem.variables.items()}
            opt.build(list(variables.values()))
            opt.apply_gradients(
                [(library.gradient(np.ones(x.shape, np.float32)), x) for x in variables.values()]
            )
            stores.append({})
            opt.save_own_variables(stores[-1])
            states.append(opt)
        (ours, theirs), (mine, its) = states, stores
        assert list(mine) == list(its)
        assert [x.shape for x in mine.values()] == [x.shape for x in its.values()]
        ours.load_own_variables(its)
        assert all(np.array_equal(v.numpy(), its[str(i)]) for i, v in enumerate(ours.variables))
        theirs.load_own_variables(mine)
        for changed in ([5], [6, np.ones(99, np.float32)], [*its.values(), np.ones(3)]):
            weights = [np.asarray(x) for x in changed]
            outcomes = [outcome(lambda opt=opt, w=weights: opt.set_weights(w)) for opt in states]
            assert (outcomes[0] is None) == (outcomes[1] is None)
            assert (outcomes[0] or "")[:1] == (outcomes[1] or "")[:1]


def outcome(action: Any) -> Any:
    """The type and the text of the error, if one is raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            action()
    except Exception as error:
        return type(error).__name__, str(error)
    return None


BAD_ARGUMENTS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {"foo": 1.0}) for name in NAMES),
    *((name, {"clipnorm": -1.0}) for name in NAMES),
    *((name, {"lr": -1.0}) for name in NAMES),
    *((name, {"clipnorm": 1.0, "global_clipnorm": 2.0}) for name in NAMES),
    *((name, {"decay": None}) for name in NAMES if name != "Nadam"),
    ("SGD", {"momentum": 1.1}),
    ("SGD", {"momentum": -1}),
    ("RMSprop", {"momentum": 1.5}),
    ("Adagrad", {"initial_accumulator_value": -1.0}),
    ("Ftrl", {"initial_accumulator_value": -1.0}),
    ("Ftrl", {"learning_rate_power": 1.0}),
    ("Ftrl", {"l1_regularization_strength": -1.0}),
    ("Ftrl", {"l2_regularization_strength": -1.0}),
    ("Ftrl", {"l2_shrinkage_regularization_strength": -1.0}),
)


BAD_IN_CURRENT: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {"foo": 1.0}) for name in CURRENT_NAMES),
    *((name, {"decay": 0.1}) for name in CURRENT_NAMES),
    *((name, {"gradient_transformers": None}) for name in CURRENT_NAMES),
    *((name, {"clipnorm": 1.0, "global_clipnorm": 2.0}) for name in CURRENT_NAMES),
    *((name, {"use_ema": True, "ema_momentum": -0.5}) for name in CURRENT_NAMES),
    *((name, {"use_ema": True, "ema_overwrite_frequency": 2.5}) for name in CURRENT_NAMES),
    *((name, {"clipnorm": -1.0}) for name in ("Adam", "Nadam")),
    ("AdamW", {"weight_decay": None}),
    ("Lion", {"beta_1": 0}),
    ("Lion", {"beta_1": 1.5}),
    ("SGD", {"momentum": -1}),
    ("RMSprop", {"momentum": -1}),
    ("Ftrl", {"initial_accumulator_value": -1.0}),
    ("Ftrl", {"learning_rate_power": 1.0}),
    ("Ftrl", {"l2_shrinkage_regularization_strength": -1.0}),
)


@pytest.mark.parametrize(("name", "kwargs"), BAD_IN_CURRENT, ids=str)
def test_errors_of_constructors_in_the_current_api(name: str, kwargs: dict[str, Any]) -> None:
    ours = outcome(lambda: keras_slotwise.optimizer(name, kwargs, "current"))
    theirs = outcome(lambda: keras_tensorflow.optimizer(name, kwargs, "current"))
    if theirs is not None:  # ours names its own modules
        text = theirs[1].replace("tf.keras.optimizers", "slotwise.optimizers")
        theirs = (
            theirs[0],
            text.replace(
                "empty  for `optimizer_experimental.Optimizer`",
                f"empty for `slotwise.optimizers.{name}`",
            ),
        )
    if (name, kwargs) == ("SGD", {"momentum": -1}):  # as in the legacy API, ours says what came
        ours = (ours[0], ours[1].partition(" Received")[0])
    if theirs is not None and "is deprecated in the new" in theirs[1]:  # in our words from there on
        assert ours[1].endswith(f"slotwise.optimizers.legacy.{name}.")
        ours, theirs = ((kind, text.partition(" in the new")[0]) for kind, text in (ours, theirs))
    assert ours == theirs


@pytest.mark.parametrize(("name", "kwargs"), BAD_ARGUMENTS, ids=str)
def test_errors_of_constructors(name: str, kwargs: dict[str, Any]) -> None:
    ours = outcome(lambda: keras_slotwise.optimizer(name, kwargs))
    theirs = outcome(lambda: keras_tensorflow.optimizer(name, kwargs))
    assert ours[0] == theirs[0]
    if "decay" not in kwargs:
        assert ours[1].partition(" Allowed")[0] == theirs[1].partition(" Allowed")[0]


@pytest.mark.parametrize("api", ["legacy", "current"])
@pytest.mark.parametrize("block", range(10))
def test_loss_scales(block: int, api: str) -> None:
    for case in range(10):
        rng = np.random.default_rng([block, case])
        kwargs: dict[str, Any] = {"initial_scale": float(2.0 ** rng.integers(-1, 128))}
        if rng.integers(2):
            kwargs["dynamic_growth_steps"] = int(rng.integers(1, 4))
        else:
            kwargs["dynamic"] = False
        gradients = rng.choice([1.0, np.inf, np.nan], 12, p=[0.7, 0.2, 0.1]).astype(np.float32)
        adam = {"learning_rate": 0.5}
        ours = optimizers.LossScaleOptimizer(keras_slotwise.optimizer("Adam", adam, api), **kwargs)
        theirs = tf_keras.mixed_precision.LossScaleOptimizer(
            keras_tensorflow.optimizer("Adam", adam, api), **kwargs
        )
        want = keras_cases.plain(theirs.get_config())
        assert keras_cases.rounded_like(keras_cases.plain(ours.get_config()), want) == want
        mine, its = slotwise.Variable(np.ones(1, np.float32)), tf.Variable(np.ones(1, np.float32))
        for g in gradients:
            ours.apply_gradients([(np.array([g]), mine)])
            theirs.apply_gradients([(tf.constant([g]), its)])
            np.testing.assert_allclose(mine.numpy(), its.numpy(), rtol=1e-5)
            assert float(ours.loss_scale) == float(theirs.loss_scale)
            assert int(ours.iterations) == int(theirs.iterations)
            if kwargs.get("dynamic", True):
                assert int(ours.dynamic_counter) == int(theirs.dynamic_counter)
            else:
                assert ours.dynamic_counter is None
