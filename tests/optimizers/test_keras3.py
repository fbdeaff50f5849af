# SPDX-License-Identifier: Apache-2.0
"""What the current API has from Keras 3; parity/test_keras3_parity.py compares with it live."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import slotwise
from hypothesis import given
from hypothesis import strategies as st
from slotwise import IndexedSlices, Variable, interop, optimizers
from slotwise.optimizers import legacy, schedules
from support.optimizers import CURRENT

OF_KERAS_3 = (
    *("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam", "Ftrl"),
    *("Adafactor", "Lion", "Lamb"),
)
every = pytest.mark.parametrize("name", CURRENT)
SHAPES = ((3,), (2, 4), ())


def variables(dtype: Any = np.float64) -> list[Variable]:
    rng = np.random.default_rng(0)
    values = [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]
    return [Variable(x, name=name) for x, name in zip(values, "abc", strict=True)]


def gradients(seed: int, dtype: Any = np.float64) -> list[Any]:
    rng = np.random.default_rng([7, seed])
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]


def step(opt: Any, grads: list[Any], own: list[Variable]) -> None:
    opt.apply_gradients(list(zip(grads, own, strict=True)))


def make(name: str, **kwargs: Any) -> Any:
    return getattr(optimizers, name)(0.125, **kwargs)


def assert_equal(own: list[Variable], others: list[Variable]) -> None:
    for a, b in zip(own, others, strict=True):
        assert np.array_equal(a.value, b.value), a.name


class Own(optimizers.Optimizer):
    """Its update is written in Python."""

    def __init__(self, learning_rate: float = 0.125, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def build(self, var_list: Any) -> None:
        super().build(var_list)
        self._built = True

    def update_step(self, gradient: Any, variable: Variable) -> None:
        variable.assign_sub(self.learning_rate * gradient)


# ----- gradients of several calls ----------------------------------------------------------------

SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"clipnorm": 0.5},
    {"global_clipnorm": 0.5, "weight_decay": 0.25},
    {"clipvalue": 0.25},
)


@every
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_calls_are_one_update_by_their_mean(name: str, settings: dict[str, Any]) -> None:
    mine, its = variables(), variables()
    opt, plain = make(name, gradient_accumulation_steps=2, **settings), make(name, **settings)
    for number in range(3):
        first, second = gradients(2 * number), gradients(2 * number + 1)
        before = [var.numpy() for var in mine]
        step(opt, first, mine)
        assert all(np.array_equal(a, b) for a, b in zip(before, mine, strict=True))
        assert (opt.iterations, int(opt.variables[0])) == (number, 2 * number + 1)
        step(opt, second, mine)
        assert (opt.iterations, int(opt.variables[0])) == (number + 1, 2 * number + 2)
        step(plain, [(a + b) / 2 for a, b in zip(first, second, strict=True)], its)
        assert_equal(mine, its)
    sums, others = [], []
    for x in opt.variables[1:]:
        (sums if x.name.startswith("gradient_accumulator") else others).append(x)
    assert_equal(others, plain.variables[1:])
    assert len(sums) == 3
    assert not any(x.value.any() for x in sums)


@given(
    steps=st.integers(2, 5),
    calls=st.integers(1, 11),
    missing=st.sets(st.tuples(st.integers(0, 10), st.integers(0, 2))),
)
def test_missing_gradients_count_as_zero(
    steps: int, calls: int, missing: set[tuple[int, int]]
) -> None:
    own = variables()
    opt = optimizers.SGD(1.0, gradient_accumulation_steps=steps)
    opt.build(own)
    expected = [var.numpy() for var in own]
    sums = [np.zeros(shape) for shape in SHAPES]
    for call in range(calls):
        grads: list[Any] = [np.round(x * 8) / 8 for x in gradients(call)]
        grads = [None if (call, i) in missing else g for i, g in enumerate(grads)]
        if all(g is None for g in grads):
            grads[0] = np.ones(3)
        step(opt, grads, own)
        sums = [x if g is None else x + g for x, g in zip(sums, grads, strict=True)]
        if (call + 1) % steps == 0:
            expected = [x - s / steps for x, s in zip(expected, sums, strict=True)]
            sums = [np.zeros(shape) for shape in SHAPES]
        for var, want in zip(own, expected, strict=True):
            np.testing.assert_allclose(var.value, want, rtol=1e-12, atol=1e-12)
    assert opt.iterations == calls // steps


def test_a_variable_without_gradients_is_not_updated() -> None:
    own = variables()
    opt = optimizers.Adam(1.0, gradient_accumulation_steps=2)
    for number in range(2):
        step(opt, gradients(number), own)
    before = own[1].numpy()
    for number in range(2, 4):
        opt.apply_gradients([(gradients(number)[0], own[0])])
    assert np.array_equal(before, own[1])


def test_sparse_gradients_are_added_up() -> None:
    table, dense = (Variable(np.ones((4, 2)), name="t") for _ in range(2))
    opt, plain = optimizers.Adam(0.1, gradient_accumulation_steps=2), optimizers.Adam(0.1)
    for number in range(4):
        rng = np.random.default_rng(number)
        total = np.zeros((4, 2))
        for _ in range(2):
            ids, values = rng.integers(0, 3, 5), rng.integers(-8, 8, (5, 2)) / 8
            opt.apply_gradients([(IndexedSlices(values, ids, (4, 2)), table)])
            np.add.at(total, ids, values)
        plain.apply_gradients([(total / 2, dense)])
        assert np.array_equal(table, dense)
    for setting in ({"sparse": "lazy"}, {"sparse": "lazy", "sparse_decay": "whole"}):
        with pytest.raises(ValueError, match="gradient_accumulation_steps: expected None with"):
            optimizers.Adam(gradient_accumulation_steps=2, **setting)
    opt.sparse = "lazy"
    with pytest.raises(ValueError, match="gradient_accumulation_steps: expected None with"):
        opt.apply_gradients([(np.ones((4, 2)), table)])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_sums_of_16_bits(dtype: Any) -> None:
    var = Variable(np.zeros(1, dtype), name="w")
    opt = optimizers.SGD(1.0, gradient_accumulation_steps=4)
    for g in (1.0, 2.0, 3.0, 4.0):
        opt.apply_gradients([(np.array([g], dtype), var)])
    assert float(var.value[0]) == -2.5


@pytest.mark.parametrize("position", [0, 1])
def test_a_refused_call_changes_nothing(position: int) -> None:
    own = variables()
    opt = optimizers.Adam(0.1, gradient_accumulation_steps=2)
    for number in range(2 + position):
        step(opt, gradients(number), own)
    before = [x.numpy() for x in (*own, *opt.variables)]
    good = gradients(9)
    for bad in (
        [good[0], good[1], np.ones(5)],
        [good[0], good[1].astype(np.float16), good[2]],
        [good[0], IndexedSlices(np.ones((1, 4)), np.array([2])), good[2]],
    ):
        with pytest.raises((TypeError, ValueError), match=r"Adam.apply_gradients: gradient"):
            step(opt, bad, own)
    with pytest.raises(ValueError, match=r"expected each variable once .* several of \['a'\]"):
        opt.apply_gradients([(good[0], own[0]), (good[0], own[0])])
    with pytest.raises(KeyError):
        opt.apply_gradients([(good[0], own[0]), (np.ones(2), np.ones(2))])
    for a, b in zip(before, (*own, *opt.variables), strict=True):
        assert np.array_equal(a, b.value)


def test_a_refused_first_call_leaves_no_state() -> None:
    opt = optimizers.Adam(0.1, gradient_accumulation_steps=2)
    own = variables()
    with pytest.raises(ValueError, match="gradient"):
        step(opt, [np.ones(5), *gradients(0)[1:]], own)
    assert len(opt.variables) == 1
    opt.apply_gradients([(np.ones(2), np.ones(2))])  # not built for the others


def test_an_interrupted_update_counts_no_gradient_twice() -> None:
    var = Variable(np.zeros(2), name="w")
    opt = optimizers.SGD(1.0, gradient_accumulation_steps=2)
    opt.apply_gradients([(np.ones(2), var)])
    # An interrupt that comes after the update, before the sums are set to 0: it is left out here.
    opt._reset_accumulators = lambda: None
    opt.apply_gradients([(np.ones(2), var)])
    del opt._reset_accumulators
    assert opt.variables[1].value.tolist() == [1, 1]
    for _ in range(2):
        opt.apply_gradients([(np.full(2, 4.0), var)])
    assert var.value.tolist() == [-5, -5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_optimizer_of_ones_own(dtype: Any) -> None:
    mine, its = variables(dtype), variables(dtype)
    opt = Own(gradient_accumulation_steps=2, loss_scale_factor=4.0)
    for number in range(4):
        step(opt, [g * 4 for g in gradients(number, dtype)], mine)
    plain = optimizers.SGD(0.125)
    for number in (0, 2):
        pairs = zip(gradients(number, dtype), gradients(number + 1, dtype), strict=True)
        step(plain, [(a + b) / dtype(2) for a, b in pairs], its)
    for a, b in zip(mine, its, strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-6)


def test_schedules_go_by_calls() -> None:
    rate = schedules.PiecewiseConstantDecay([2], [1.0, 0.25])
    var = Variable(np.zeros(1), name="w")
    opt = optimizers.SGD(rate, gradient_accumulation_steps=2)
    for want in (0, -1, -1, -1.25):
        opt.apply_gradients([(np.ones(1), var)])
        assert float(var.value[0]) == want


def test_the_count_belongs_to_the_steps() -> None:
    opt = optimizers.SGD(gradient_accumulation_steps=2)
    assert opt.iterations == 0
    assert isinstance(opt.iterations, np.int64)
    with pytest.raises(ValueError, match=r"SGD.iterations: expected to be left as it is"):
        opt.iterations = 4
    opt.gradient_accumulation_steps = 3
    opt.build(variables())
    opt.gradient_accumulation_steps = 3
    with pytest.raises(ValueError, match="expected to be set before the optimizer is built"):
        opt.gradient_accumulation_steps = 2
    for wrong, error in ((1, ValueError), (2.5, ValueError), ("2", TypeError), (True, TypeError)):
        with pytest.raises(error, match="gradient_accumulation_steps"):
            optimizers.SGD(gradient_accumulation_steps=wrong)


def test_further_variables_have_sums_too() -> None:
    a, b, c = variables()
    opt = optimizers.SGD(1.0, gradient_accumulation_steps=2, momentum=0.5)
    opt.build([a])
    opt.build([a, b, c])
    before = [x.numpy() for x in (a, b, c)]
    for _ in range(2):
        step(opt, [np.ones(shape) for shape in SHAPES], [a, b, c])
    for x, old in zip((a, b, c), before, strict=True):
        assert np.array_equal(x.value, old - 1)


@every
@pytest.mark.parametrize("calls", [3, 4])
def test_state_between_calls_is_saved(name: str, calls: int, tmp_path: Path) -> None:
    settings = {"gradient_accumulation_steps": 2, "use_ema": True, "ema_variant": "keras3"}
    own, opt = variables(), make(name, **settings)
    for number in range(calls):
        step(opt, gradients(number), own)
    assert "a/gradient_accumulator" in opt.state_dict()
    slotwise.save(tmp_path / "c", optimizer=opt, variables=own)
    others, again = variables(), make(name, **settings)
    slotwise.load(tmp_path / "c", optimizer=again, variables=others)
    third, by_name = variables(), make(name, **settings)
    by_name.load_state_dict(opt.state_dict(), variables=third)
    for var, value in zip(third, own, strict=True):
        var.assign(value)
    for number in range(calls, 7):
        for optimizer, vs in ((opt, own), (again, others), (by_name, third)):
            step(optimizer, gradients(number), vs)
    for optimizer, vs in ((again, others), (by_name, third)):
        assert_equal(vs, own)
        assert_equal(optimizer.variables, opt.variables)
    with pytest.raises(ValueError, match="gradient_accumulator"):
        make(name, use_ema=True, ema_variant="keras3").load_state_dict(
            opt.state_dict(), variables=variables()
        )


def test_deltas_hold_the_rows_of_sums(tmp_path: Path) -> None:
    def fresh() -> tuple[Variable, Any]:
        return Variable(np.zeros((5, 2)), name="w"), optimizers.Adam(gradient_accumulation_steps=3)

    table, opt = fresh()
    slotwise.track(table)
    opt.apply_gradients([(np.ones((5, 2)), table)])
    what = {"optimizer": opt, "variables": [table]}
    slotwise.save(tmp_path / "base", **what)
    for ids in ([2, 4], [4, 4]):
        grad = IndexedSlices(np.ones((2, 2)), np.array(ids), (5, 2))
        opt.apply_gradients([(grad, table)])
        number = str(opt.variables[0].value)
        slotwise.save_delta(tmp_path / number, since=tmp_path / "base", **what)
        other, again = fresh()
        slotwise.load(
            tmp_path / "base", deltas=[tmp_path / number], optimizer=again, variables=[other]
        )
        assert_equal([other, *again.variables], [table, *opt.variables])
        slotwise.save(tmp_path / "base", **what)


@pytest.mark.parametrize("calls", [1, 2])
def test_copies_between_calls(calls: int) -> None:
    own, opt = variables(), optimizers.Adam(0.125, gradient_accumulation_steps=2)
    for number in range(calls):
        step(opt, gradients(number), own)
    copies = [copy.deepcopy((opt, own)), pickle.loads(pickle.dumps((opt, own)))]
    for number in range(calls, 4):
        for optimizer, vs in ((opt, own), *copies):
            step(optimizer, gradients(number), vs)
    for optimizer, vs in copies:
        assert_equal([*vs, *optimizer.variables], [*own, *opt.variables])


def test_settings_are_shown() -> None:
    opt = optimizers.SGD(0.5, gradient_accumulation_steps=2, loss_scale_factor=8.0)
    assert "loss_scale_factor=8.0, gradient_accumulation_steps=2" in repr(opt)


# ----- scaled losses -----------------------------------------------------------------------------


@every
def test_gradients_of_a_scaled_loss(name: str) -> None:
    mine, its = variables(np.float32), variables(np.float32)
    opt, plain = make(name, loss_scale_factor=1024.0, clipnorm=0.5), make(name, clipnorm=0.5)
    for number in range(3):
        grads = gradients(number, np.float32)
        step(opt, [g * np.float32(1024) for g in grads], mine)
        step(plain, grads, its)
    assert_equal(mine, its)
    assert_equal(opt.variables, plain.variables)


def test_sparse_gradients_of_a_scaled_loss() -> None:
    tables = [Variable(np.ones((4, 2)), name="t") for _ in range(2)]
    ids = np.array([3, 1, 3])
    for factor, table in zip((8.0, None), tables, strict=True):
        values = np.arange(6.0).reshape(3, 2) * (factor or 1)
        opt = optimizers.Adagrad(0.5, loss_scale_factor=factor)
        opt.apply_gradients([(IndexedSlices(values, ids, (4, 2)), table)])
    assert np.array_equal(*tables)


def test_a_scale_beyond_float16() -> None:
    var = Variable(np.zeros(1, np.float16), name="w")
    opt = optimizers.SGD(1.0, loss_scale_factor=2.0**20)
    opt.apply_gradients([(np.array([3.0], np.float16), var)])
    assert float(var.value[0]) == -float(np.float16(3 * 2.0**-20))


def test_minimize_scales_the_loss() -> None:
    pytest.importorskip("autograd")
    var = Variable(np.array(3.0))
    opt = optimizers.SGD(0.5, loss_scale_factor=16.0)
    [(grad, _)] = opt.compute_gradients(lambda: var * var, [var])
    assert float(grad) == 96
    opt.minimize(lambda: var * var, [var])
    assert float(var) == 0
    assert opt.scale_loss(2.0) == 32
    opt.loss_scale_factor = None
    assert opt.scale_loss(2.0) == 2


def test_a_loss_is_scaled_once() -> None:
    with pytest.raises(ValueError, match="expected one without loss_scale_factor, got 4"):
        optimizers.LossScaleOptimizer(optimizers.SGD(loss_scale_factor=4.0))


def test_a_skipped_call_is_no_part_of_an_update() -> None:
    var = Variable(np.zeros(1, np.float32), name="w")
    inner = optimizers.SGD(1.0, gradient_accumulation_steps=2)
    opt = optimizers.LossScaleOptimizer(inner, initial_scale=1.0)
    for g in (1.0, np.inf, 3.0, np.nan):
        opt.get_scaled_loss(1.0)
        opt.get_unscaled_gradients([])
        opt.apply_gradients([(np.array([g], np.float32), var)])
    assert float(var.value[0]) == -2
    assert int(inner.variables[0]) == 2


# ----- averages ----------------------------------------------------------------------------------


def test_averages_of_keras_3() -> None:
    """They begin after the first step, and follow without a gradient, too."""
    a, b = (Variable(np.array([4.0]), name=name) for name in "ab")
    opt = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5, ema_variant="keras3")
    opt.build([a, b])
    b.assign([8.0])
    opt.apply_gradients([(np.array([1.0]), a)])
    assert [x.value.tolist() for x in opt.variables[1:3]] == [[3.0], [8.0]]
    b.assign([0.0])
    opt.apply_gradients([(np.array([1.0]), a)])
    assert [x.value.tolist() for x in opt.variables[1:3]] == [[2.5], [4.0]]
    opt.ema_overwrite_frequency = 3
    opt.apply_gradients([(np.array([1.0]), a)])
    assert (a.value.tolist(), b.value.tolist()) == ([1.75], [2.0])


def test_averages_of_keras_2_stay_the_default() -> None:
    a, b = (Variable(np.array([4.0]), name=name) for name in "ab")
    opt = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    opt.build([a, b])
    b.assign([8.0])
    opt.apply_gradients([(np.array([1.0]), a)])
    assert [x.value.tolist() for x in opt.variables[1:3]] == [[3.5], [4.0]]


@every
def test_both_kinds_of_averages_are_the_same_in_python_and_in_the_extension(name: str) -> None:
    """A hook that is overridden takes the update through Python."""
    cls = getattr(optimizers, name)

    class ByHand(cls):  # type: ignore[valid-type]
        def update_step(self, gradient: Any, variable: Variable) -> None:
            super().update_step(gradient, variable)

    for variant in ("keras2", "keras3"):
        settings = {
            "use_ema": True,
            "ema_momentum": 0.75,
            "ema_overwrite_frequency": 2,
            "ema_variant": variant,
        }
        mine, its = variables(), variables()
        for opt, own in ((cls(0.125, **settings), mine), (ByHand(0.125, **settings), its)):
            for number in range(4):
                grads: list[Any] = gradients(number)
                grads[number % 3] = None if number else grads[0]
                step(opt, grads, own)
        assert_equal(mine, its)


def test_averages_follow_the_rows_that_were_touched() -> None:
    a, b = (Variable(np.ones((3, 1)), name=name) for name in "ab")
    opt = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5, ema_variant="keras3", sparse="lazy")
    opt.build([a, b])
    b.assign(np.zeros((3, 1)))
    opt.apply_gradients([(IndexedSlices(np.ones((1, 1)), np.array([1]), (3, 1)), a)])
    assert opt.variables[1].value.ravel().tolist() == [1, 0, 1]
    assert opt.variables[2].value.ravel().tolist() == [1, 1, 1]


# ----- Lamb --------------------------------------------------------------------------------------


def test_lamb_is_that_of_keras_3() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    optimizers.Lamb(0.5).apply_gradients([(np.array([1.0, 6.0, 7.0, 2.0]), x)])
    np.testing.assert_allclose(x, [-0.3693, 0.6306, 1.6306, 2.6306], atol=1e-4)
    assert optimizers.Lamb().weight_decay is None
    var, excluded = Variable(2.0, name="w"), Variable(2.0, name="exclude")
    opt = optimizers.Lamb(1.0, weight_decay=0.004)
    opt.exclude_from_weight_decay(var_names=["exclude"])
    for _ in range(3):
        opt.apply_gradients([(np.float32(0), var), (np.float32(0), excluded)])
    assert float(var) == pytest.approx(1.9760959, abs=1e-6)
    assert float(excluded) == 2


# ----- configs -----------------------------------------------------------------------------------

_CONFIG = {
    **{"name": "adam", "learning_rate": 0.5, "weight_decay": None, "clipnorm": None},
    **{"global_clipnorm": None, "clipvalue": None, "use_ema": False, "ema_momentum": 0.99},
    **{"ema_overwrite_frequency": None, "loss_scale_factor": None},
    **{"gradient_accumulation_steps": None, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07},
    "amsgrad": False,
}


def serialized(**changes: Any) -> dict[str, Any]:
    config = {**_CONFIG, **changes}
    return {"module": "keras.optimizers", "class_name": "Adam", "config": config}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss_scale_factor": 8.0, "gradient_accumulation_steps": 3},
        {"use_ema": True, "ema_overwrite_frequency": 5},
        {"clipvalue": 0.5, "weight_decay": 0.1, "amsgrad": True},
    ],
)
def test_configs_of_keras_3(changes: dict[str, Any]) -> None:
    data = serialized(**changes)
    text = json.dumps(data)
    opt = optimizers.deserialize(data)
    assert type(opt) is optimizers.Adam
    assert type(optimizers.Adam.from_config(data["config"])) is optimizers.Adam
    assert opt.ema_variant == ("keras3" if changes.get("use_ema") else "keras2")
    assert json.dumps(data) == text
    back = optimizers.serialize(opt, keras=3)
    assert back == {**data, "registered_name": None}
    own = json.loads(json.dumps(optimizers.serialize(opt)))
    assert own["config"]["is_legacy_optimizer"] is False
    assert optimizers.deserialize(own).get_config() == opt.get_config()


@pytest.mark.parametrize("name", OF_KERAS_3)
def test_every_config_can_be_read_by_keras_3(name: str) -> None:
    config = optimizers.serialize(make(name), keras=3)["config"]
    assert not {"jit_compile", "is_legacy_optimizer", "ema_variant", "sparse"} & config.keys()
    assert {"loss_scale_factor", "gradient_accumulation_steps"} <= config.keys()
    again = getattr(optimizers, name).from_config(config)
    assert again.get_config() == make(name).get_config()


def test_what_keras_3_has_not_is_not_written() -> None:
    for opt, what in (
        *((make(name), name) for name in CURRENT if name not in OF_KERAS_3),
        (optimizers.Adam(use_ema=True), "ema_variant: expected 'keras3'"),
        (optimizers.Adam(sparse="lazy"), "sparse: expected 'keras'"),
        (optimizers.Adam(adaptive_epsilon=True), "adaptive_epsilon: expected False"),
        (optimizers.Adam(clipnorm=1.0, clipvalue=1.0), "clipvalue: expected None beside clipnorm"),
        (legacy.Adam(), "current API"),
        (optimizers.LossScaleOptimizer(optimizers.Adam()), "not wrapped"),
    ):
        with pytest.raises(ValueError, match=f"serialize: .*{what}"):
            optimizers.serialize(opt, keras=3)
    with pytest.raises(ValueError, match="keras: expected 2 or 3, got 4"):
        # (What a type checker refuses, callers without one may pass; below, too.)
        optimizers.serialize(optimizers.Adam(), keras=4)
    with pytest.raises(ValueError, match="use_legacy_format"):
        optimizers.serialize(optimizers.Adam(), True, keras=3)


def test_loss_scaling_of_keras_3_is_refused() -> None:
    config = {"inner_optimizer": serialized(), "initial_scale": 32768.0, "name": "l"}
    with pytest.raises(ValueError, match="got one of Keras 3, whose LossScaleOptimizer"):
        optimizers.deserialize(
            {"class_name": "LossScaleOptimizer", "config": {**config, "dynamic_growth_steps": 2000}}
        )


def test_schedules_in_configs() -> None:
    opt = optimizers.SGD(schedules.CosineDecay(0.5, 10))
    rate = optimizers.serialize(opt, keras=3)["config"]["learning_rate"]
    assert "name" not in rate["config"]
    assert optimizers.SGD.from_config({"learning_rate": rate}).get_config() == opt.get_config()


# ----- lists of weights --------------------------------------------------------------------------


def stepped(name: str, **kwargs: Any) -> tuple[Any, list[Variable]]:
    opt, own = make(name, **kwargs), variables(np.float32)
    for number in range(3):
        step(opt, gradients(number, np.float32), own)
    return opt, own


@every
@pytest.mark.parametrize("keras", [2, 3])
def test_weights_round_trip(name: str, keras: Any) -> None:
    for kwargs in ({}, {"use_ema": True}, {"gradient_accumulation_steps": 2}):
        opt, own = stepped(name, **kwargs)
        arrays = interop.keras_weights(opt, keras=keras)
        other, its = getattr(optimizers, name)(0.75, **kwargs), variables(np.float32)
        for var, value in zip(its, own, strict=True):
            var.assign(value)
        interop.load_keras_weights(other, arrays, its, keras=keras)
        assert float(other.learning_rate) == (0.125 if keras == 3 else 0.75)
        other.learning_rate = 0.125
        again = interop.keras_weights(other, keras=keras)
        assert all(np.array_equal(a, b) for a, b in zip(arrays, again, strict=True))
        if name == "Nadam" and keras == 2:
            continue  # whose product Keras 2 hides
        for optimizer, vs in ((opt, own), (other, its)):
            step(optimizer, gradients(3, np.float32), vs)
        assert_equal(own, its)


def test_the_layout_is_found_or_asked_for() -> None:
    opt, _ = stepped("Adam")
    for keras in (2, 3):
        arrays = interop.keras_weights(opt, keras=keras)
        other = optimizers.Adam(0.75)
        interop.load_keras_weights(other, arrays, variables(np.float32))
        assert float(other.learning_rate) == (0.125 if keras == 3 else 0.75)
        with pytest.raises(ValueError, match="arrays: expected a list of length"):
            interop.load_keras_weights(other, arrays, keras=5 - keras)
    scalar = Variable(np.float32(0), name="s")
    arrays = [np.array(7), np.array(0.25, np.float32)]  # of Keras 2, m; of Keras 3, the rate
    sgd = optimizers.SGD(0.5)
    with pytest.raises(ValueError, match="expected keras=2 or keras=3, since the arrays fit both"):
        interop.load_keras_weights(sgd, arrays, [scalar])
    assert int(sgd.iterations) == 0
    interop.load_keras_weights(sgd, arrays, [scalar], keras=3)
    assert (float(sgd.learning_rate), float(sgd.variables[1])) == (0.25, 0.0)
    interop.load_keras_weights(sgd, arrays, [scalar], keras=2)
    assert float(sgd.variables[1]) == 0.25
    with pytest.raises(ValueError, match="keras: expected 2 or 3, got 1"):
        interop.load_keras_weights(sgd, arrays, [scalar], keras=1)
    with pytest.raises(ValueError, match=r"expected one that Keras 3 has, got legacy.Adam"):
        interop.keras_weights(legacy.Adam(), keras=3)


def test_other_dtypes_and_shapes_are_refused() -> None:
    opt, _ = stepped("Adam")
    arrays = interop.keras_weights(opt, keras=3)
    before = [x.numpy() for x in opt.variables]
    for place, bad, error in (
        (0, np.array(3.0), TypeError),
        (1, np.array(0.5), TypeError),
        (2, arrays[2].astype(np.float64), TypeError),
        (3, np.zeros((4, 4), np.float32), ValueError),
    ):
        wrong = [*arrays[:place], bad, *arrays[place + 1 :]]
        with pytest.raises(error, match=rf"load_keras_weights: arrays\[{place}\], '.*': expected"):
            interop.load_keras_weights(opt, wrong)
    assert all(np.array_equal(a, b.value) for a, b in zip(before, opt.variables, strict=True))
    arrays[0] = arrays[0].astype(np.int32)  # as with JAX
    interop.load_keras_weights(opt, arrays)
    assert int(opt.iterations) == 3


def test_lists_of_keras_3_are_not_taken_for_our_own() -> None:
    scalar = Variable(np.float32(0), name="s")
    opt = optimizers.Adam()
    opt.build([scalar])
    arrays = [np.array(7), *(np.array(x, np.float32) for x in (0.25, 1, 2))]
    with pytest.raises(ValueError, match=r"set_weights: .* use slotwise.interop.load_keras"):
        opt.set_weights(arrays)
    with pytest.raises(ValueError, match=r"load_own_variables: .* use slotwise.interop.load_keras"):
        opt.load_own_variables({str(i): x for i, x in enumerate(arrays)})
    assert int(opt.iterations) == 0
    interop.load_keras_weights(opt, arrays)
    assert [float(x) for x in opt.variables] == [7, 1, 2]


def test_lists_are_in_keras_order_after_an_extension() -> None:
    a, b, c = variables(np.float32)
    opts = [optimizers.Adam(0.125, use_ema=True, amsgrad=True) for _ in range(2)]
    opts[0].build([a])
    opts[0].build([a, b, c])
    opts[1].build(variables(np.float32))
    for keras in (2, 3):
        one, other = (interop.keras_weights(opt, keras=keras) for opt in opts)
        assert [x.shape for x in one] == [x.shape for x in other]
        interop.load_keras_weights(opts[0], other, keras=keras)
