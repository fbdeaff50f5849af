# SPDX-License-Identifier: Apache-2.0
"""Arguments of all kinds that are none: what errors say, and that nothing is changed or kept."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import interop, optimizers
from slotwise.optimizers import legacy, schedules

both = pytest.mark.parametrize("api", [legacy, optimizers], ids=["legacy", "current"])


@pytest.mark.parametrize("make", [slotwise.zeros, slotwise.empty, slotwise.full])
@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        (2**62, MemoryError, "expected what there is memory for"),
        ((2**63,), MemoryError, "expected what there is memory for"),
        ((0, 2**70), MemoryError, "expected what there is memory for"),
        ((1,) * 70, ValueError, "expected at most 64 sizes, got more"),
        ({"a": 1}, TypeError, "expected an integer or a sequence of integers, got dict"),
        (object, TypeError, "expected an integer or a sequence of integers, got the class object"),
    ],
)
def test_shapes_that_are_none(make: Any, shape: Any, error: Any, words: str) -> None:
    given = (shape, 1) if make is slotwise.full else (shape,)
    with pytest.raises(error, match=f"^{make.__name__}: shape: {words}"):
        make(*given)


@pytest.mark.parametrize("dtype", ["text", "S3", "V0", object, 5, None, [1, 2], "M8[s]"])
def test_dtypes_that_are_none(dtype: Any) -> None:
    for make in (slotwise.zeros, slotwise.empty):
        with pytest.raises(TypeError, match=f"^{make.__name__}: dtype: expected a dtype of num"):
            make(3, dtype)


@pytest.mark.parametrize("value", ["text", None, [1, 2], [[1], [2, 3]], object()])
def test_fill_values_that_do_not_fit(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^full: fill_value: expected .*, got "):
        slotwise.full((2, 3), value)


@both
@pytest.mark.parametrize("weights", [5, None, "text", {"a": 1}])
def test_weights_that_are_no_list(api: Any, weights: Any) -> None:
    opt, var = api.SGD(0.1), slotwise.Variable(np.ones(2, np.float32))
    opt.apply_gradients([(np.ones(2, np.float32), var)])
    with pytest.raises(TypeError, match=r"^SGD.set_weights: weights: expected a list of arrays"):
        opt.set_weights(weights)
    with pytest.raises(TypeError, match=r"^SGD.set_weights: weights\[0\]: expected an array of"):
        opt.set_weights([["a"]])
    assert int(opt.iterations) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": "text"},
        {"shape": (-1,)},
        {"shape": (2**62,)},
        {"initializer": "twos"},
        {"initializer": [1, 2, 3]},
        {"initializer": lambda: 1},
        {"slot_name": 5},
    ],
)
def test_slots_that_are_refused_are_not_made(arguments: dict[str, Any]) -> None:
    opt, var = legacy.SGD(0.1), slotwise.Variable(np.ones(2, np.float32), name="w")
    with pytest.raises((TypeError, ValueError, MemoryError), match=r"^SGD.add_slot: \w+: expected"):
        opt.add_slot(var, **{"slot_name": "m", **arguments})
    assert not opt.weights
    assert not opt.get_slot_names()
    assert not [*opt._variables]


@both
def test_state_that_is_refused_makes_no_slots(api: Any) -> None:
    source, var = api.Adam(0.1), slotwise.Variable(np.ones(2, np.float32), name="w")
    source.apply_gradients([(np.ones(2, np.float32), var)])
    state = {**source.state_dict(), "w/m": np.ones(7)}
    opt = api.Adam(0.1)
    before = len(opt._variables)
    for given in (state, {**state, "w/m": "text"}, [1], {1: 2}):
        with pytest.raises((TypeError, ValueError), match=r"^load_state_dict: "):
            opt.load_state_dict(given, variables=[var])
    with pytest.raises(TypeError, match=r"^load_keras_weights: arrays: expected a list of arrays"):
        interop.load_keras_weights(opt, 5, [var])
    with pytest.raises(ValueError, match=r"^load_keras_weights: arrays: expected .* length"):
        interop.load_keras_weights(opt, [np.array(1)], [var])
    assert len(opt._variables) == before


def test_arguments_that_are_no_optimizers_and_arrays() -> None:
    for call in (interop.keras_weights, lambda x: interop.load_keras_weights(x, [])):
        with pytest.raises(
            TypeError, match=r"optimizer: expected one of slotwise.optimizers, got "
        ):
            call(5)
    for track in (slotwise.track, slotwise.untrack):
        with pytest.raises(TypeError, match=r"^(un)?track: variable: expected a slotwise.Variable"):
            track([1, 2])


@pytest.mark.parametrize("rows", ["text", [0.5], [[1], [2, 3]], object()])
def test_marks_of_rows_that_are_none(rows: Any) -> None:
    touched = slotwise.track(np.zeros((4, 2)))
    with pytest.raises(TypeError, match=r"^TouchedRows.mark: rows: expected "):
        touched.mark(rows)
    assert not touched.rows.size


@pytest.mark.parametrize("step", ["text", None, [1, 2], object()])
@pytest.mark.parametrize(
    "rate",
    [
        schedules.CosineDecay(0.1, 10),
        schedules.CosineDecayRestarts(0.1, 10),
        schedules.ExponentialDecay(0.1, 10, 0.5),
        schedules.InverseTimeDecay(0.1, 10, 0.5),
        schedules.PiecewiseConstantDecay([10], [0.1, 0.2]),
        schedules.PolynomialDecay(0.1, 10),
    ],
    ids=lambda rate: type(rate).__name__,
)
def test_steps_that_are_no_numbers(rate: Any, step: Any) -> None:
    with pytest.raises(TypeError, match=f"^{type(rate).__name__}: step: expected a number, got"):
        rate(step)


@both
@pytest.mark.parametrize("config", [5, None, [1], {1: 2}])
def test_configs_that_are_none(api: Any, config: Any) -> None:
    for cls in (api.SGD, api.Nadam, optimizers.LossScaleOptimizer):
        with pytest.raises(TypeError, match=rf"^{cls.__name__}.from_config: .*config: expected "):
            cls.from_config(config)


def test_exclusions_that_are_refused_keep_the_former() -> None:
    opt, var = optimizers.SGD(0.5, weight_decay=0.5), slotwise.Variable(1.0)
    opt.exclude_from_weight_decay(var_list=[var])
    with pytest.raises(TypeError):
        opt.exclude_from_weight_decay(var_list=[np.array(["a"])])
    opt.apply_gradients([(np.float32(0), var)])
    assert float(var) == 1


@both
def test_arrays_of_refused_calls_are_not_kept(api: Any) -> None:
    opt, var = api.Adam(0.1), slotwise.Variable(np.ones(2, np.float32))
    opt.apply_gradients([(np.ones(2, np.float32), var)])
    refs: list[Any] = []
    for shape in ((3,), (2, 2)):
        other, grad = np.ones(shape, np.float32), np.ones(2, np.float32)
        with pytest.raises((KeyError, ValueError)):
            opt.apply_gradients([(grad, other)])
        refs += [weakref.ref(other), weakref.ref(grad)]
        del other, grad
    gc.collect()
    assert [ref() for ref in refs] == [None] * 4


def test_a_step_of_scaling_is_refused_by_its_argument() -> None:
    var = slotwise.Variable(np.ones(2, np.float32), name="w")
    opt = optimizers.LossScaleOptimizer(optimizers.SGD(0.1))
    for grad in (np.array(["a", "b"]), np.array([None, 1], object)):
        with pytest.raises(TypeError, match=r"apply_gradients: gradient of 'w'.*: expected "):
            opt.apply_gradients([(grad, var)])
    for pairs in (5, None, [None], [(1,)], "text"):
        with pytest.raises(TypeError, match=r"apply_gradients: grads_and_vars.*: expected "):
            opt.apply_gradients(pairs)
    with pytest.raises(TypeError, match=r"get_unscaled_gradients: grads: expected a list of grad"):
        opt.get_unscaled_gradients(5)
    with pytest.raises(TypeError, match=r"get_scaled_loss: loss: expected a number, got 'text'"):
        opt.get_scaled_loss("text")
    assert int(opt.iterations) == 0
    assert var.numpy().tolist() == [1, 1]
