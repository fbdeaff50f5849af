# SPDX-License-Identifier: Apache-2.0
"""LossScaleOptimizer; its numbers are compared with Keras's in parity/test_keras_parity.py."""

from __future__ import annotations

import json
import logging
import re
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slotwise import IndexedSlices, Variable, optimizers
from slotwise.optimizers import LossScaleOptimizer, legacy


def scaled(**kwargs: Any) -> LossScaleOptimizer:
    return LossScaleOptimizer(legacy.SGD(0.5, momentum=0.5), **kwargs)


def test_a_dynamic_scale() -> None:
    opt, var = scaled(initial_scale=4.0, dynamic_growth_steps=2), Variable(np.zeros(1))
    history = []
    for g in (1.0, 1.0, np.inf, np.nan, np.inf, -np.inf, 1.0):
        opt.apply_gradients([(np.array([g]), var)])
        assert opt.dynamic_counter is not None
        history.append((float(opt.loss_scale), int(opt.dynamic_counter), int(opt.iterations)))
    assert history == [(4, 1, 1), (8, 0, 2), (4, 0, 3), (2, 0, 4), (1, 0, 5), (1, 0, 6), (1, 1, 7)]
    assert np.isfinite(var.value).all()


def test_a_scale_never_becomes_infinite() -> None:
    opt, var = scaled(initial_scale=2.0**127, dynamic_growth_steps=1), Variable(np.zeros(1))
    opt.apply_gradients([(np.ones(1), var)])
    assert float(opt.loss_scale) == 2.0**127
    assert opt.dynamic_counter is not None
    assert int(opt.dynamic_counter) == 0


def test_a_fixed_scale_skips_nothing() -> None:
    opt, var = scaled(dynamic=False, initial_scale=4.0), Variable(np.zeros(1))
    opt.apply_gradients([(np.array([np.inf]), var)])
    assert var.value[0] == -np.inf
    assert opt.dynamic_counter is None
    assert opt.dynamic_growth_steps is None


def test_finiteness_is_that_of_slices_values() -> None:
    opt, var = scaled(initial_scale=4.0), Variable(np.zeros((2, 1)))
    opt.apply_gradients([(IndexedSlices(np.array([[np.nan]]), np.array([1])), var)])
    assert not var.value.any()
    assert opt.get_weights()[0] == 1
    assert len(opt.get_weights()) == 1  # slots are not made


def test_scaling_and_unscaling() -> None:
    opt = scaled(initial_scale=8.0)
    assert opt.get_scaled_loss(np.float16(0.5)).dtype == np.float16
    assert opt.get_scaled_loss(lambda: 0.5)() == 4.0
    dense = np.array([8.0], np.float16)
    slices = IndexedSlices(np.ones((1, 2), np.float32), np.array([3]), (5, 2))
    unscaled = opt.get_unscaled_gradients([dense, None, slices])
    assert (unscaled[0].dtype, unscaled[0].tolist(), unscaled[1]) == (np.float16, [1.0], None)
    assert unscaled[2].values.tolist() == [[0.125, 0.125]]
    assert (unscaled[2].indices.tolist(), unscaled[2].dense_shape) == ([3], (5, 2))


@given(
    st.integers(0, 2**16 - 1).map(lambda bits: np.uint16(bits).view(np.float16)),
    st.one_of(
        st.integers(-3, 127).map(lambda power: np.float32(2.0) ** np.float32(power)),
        st.floats(0.5, 2**20, width=32).map(np.float32),
    ),
)
def test_gradients_in_float16_are_rounded_once(gradient: np.float16, scale: np.float32) -> None:
    """Also where the scale's reciprocal is none of float16's numbers."""
    opt = scaled(dynamic=False, initial_scale=float(scale))
    (unscaled,) = opt.get_unscaled_gradients([np.array([gradient])])
    with np.errstate(all="ignore"):
        exact = np.longdouble(gradient) / np.longdouble(scale)
        expected = np.float16(exact)
    assert unscaled.dtype == np.float16
    np.testing.assert_array_equal(unscaled[0], expected)


def test_a_scale_beyond_float16() -> None:
    opt = scaled(initial_scale=2.0**25)
    slices = IndexedSlices(np.full((1, 1), 1024, np.float16), np.array([0]), (2, 1))
    dense, sparse = opt.get_unscaled_gradients([np.full(1, 1024, np.float16), slices])
    assert dense.tolist() == [2.0**-15]
    assert sparse.values.tolist() == [[2.0**-15]]
    assert opt.get_scaled_loss(np.float16(2.0**-14)) == 2.0**11
    assert opt.get_scaled_loss(lambda: np.full(2, 2.0**-14, np.float16))().tolist() == [2.0**11] * 2


def test_minimize_in_float16_at_a_scale_beyond_it() -> None:
    for api in (legacy, optimizers):
        var = Variable(np.full(2, 2.0**-10, np.float16))
        opt = LossScaleOptimizer(api.SGD(0.5), initial_scale=2.0**18)
        for _ in range(5):  # twice the scale must fit, the derivative of the square
            opt.minimize(lambda var=var: (var**2).sum(), [var])
        assert opt.loss_scale == 2.0**14
        assert var.numpy().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("api", [legacy, optimizers])
def test_the_scale_is_a_number_of_its_own(api: Any) -> None:
    opt, var = LossScaleOptimizer(api.SGD(), initial_scale=8.0), Variable(np.zeros(1))
    scale = opt.loss_scale
    assert type(scale) is np.float32
    opt.apply_gradients([(np.array([np.nan]), var)])
    assert (scale, opt.loss_scale) == (8.0, 4.0)
    for name in ("loss_scale", "dynamic_counter", "inner_optimizer", "dynamic", "initial_scale"):
        with pytest.raises(AttributeError):
            setattr(opt, name, 1024.0)
    assert opt.loss_scale == 4.0


def test_hyperparameters_of_the_same_name_stay_apart() -> None:
    class Odd(legacy.SGD):
        def __init__(self) -> None:
            super().__init__()
            self._set_hyper("loss_scale", 3.0)

    opt = LossScaleOptimizer(Odd(), initial_scale=8.0)
    with pytest.raises(AttributeError):
        opt.loss_scale = 5.0
    assert (opt.loss_scale, float(opt.inner_optimizer.loss_scale)) == (8.0, 3.0)


def test_what_is_not_delegated_is_not_set_in_silence() -> None:
    opt = LossScaleOptimizer(optimizers.SGD(weight_decay=0.5))
    text = "no attribute 'weight_decay'; its inner_optimizer has"
    with pytest.raises(AttributeError, match=text):
        opt.weight_decay = 0.25
    with pytest.raises(AttributeError, match=text):
        _ = opt.weight_decay
    assert opt.inner_optimizer.weight_decay == 0.5
    opt.mine = 1  # as Keras's
    assert opt.mine == 1


@pytest.mark.parametrize("api", [legacy, optimizers])
def test_steps_that_are_skipped_for_ever(api: Any) -> None:
    opt, var = LossScaleOptimizer(api.SGD(0.5), initial_scale=2.0**4), Variable(np.ones(2))
    bad = [(np.array([np.nan, 1]), var)]

    def told(steps: int) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(steps):
                opt.apply_gradients(bad)
        assert all(w.filename == __file__ and w.category is RuntimeWarning for w in caught)
        return [re.findall(r"(\d+) steps in a row were skipped", str(w.message))[0] for w in caught]

    assert told(9) == []
    assert told(91) == ["10", "20", "40", "80"]
    opt.apply_gradients([(np.ones(2), var)])
    assert told(9) == []
    assert told(1) == ["10"]
    assert int(opt.iterations) == 111
    assert var.numpy().tolist() == [0.5, 0.5]


def test_a_scale_that_can_still_fall_is_no_reason_to_warn() -> None:
    opt, var = scaled(initial_scale=2.0**20), Variable(np.ones(1))
    for _ in range(20):
        opt.apply_gradients([(np.array([np.inf]), var)])
    with pytest.warns(RuntimeWarning, match="21 steps in a row"):
        opt.apply_gradients([(np.array([np.inf]), var)])


def test_minimize_scales_back() -> None:
    a, b = Variable(np.ones(2)), Variable(np.ones(2))
    opt, plain = scaled(), legacy.SGD(0.5, momentum=0.5)
    for _ in range(3):
        opt.minimize(lambda: (a**2).sum(), [a])
        plain.minimize(lambda: (b**2).sum(), [b])
    assert np.array_equal(a, b)


def test_a_loss_that_was_not_scaled(caplog: pytest.LogCaptureFixture) -> None:
    def warnings_after(*calls: str) -> str:
        opt = scaled()
        for call in calls:
            getattr(opt, call)([] if call == "get_unscaled_gradients" else 1.0)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "slotwise"):
            opt.apply_gradients([(np.ones(1), Variable(np.zeros(1)))])
        return caplog.text

    scaling, unscaling = "LossScaleOptimizer.get_scaled_loss()", "get_unscaled_gradients()"
    text = f"You forgot to call {scaling} and LossScaleOptimizer.{unscaling} before calling"
    assert text in warnings_after()
    text = warnings_after("get_scaled_loss")
    assert f"You forgot to call LossScaleOptimizer.{unscaling} before calling" in text
    assert "(you did call get_scaled_loss() however)" in text
    text = warnings_after("get_unscaled_gradients")
    assert f"You forgot to call {scaling} before calling" in text
    assert "(you did call get_unscaled_gradients() however)" in text
    assert warnings_after("get_scaled_loss", "get_unscaled_gradients") == ""


def test_the_inner_optimizer_is_reached() -> None:
    opt, var = scaled(), Variable(np.zeros(1), name="w")
    opt.apply_gradients([(np.ones(1), var)])
    assert opt.get_slot(var, "momentum") is opt.inner_optimizer.get_slot(var, "momentum")
    assert opt.iterations is opt.inner_optimizer.iterations
    opt.lr = 0.25
    opt.momentum = 0.75
    opt.clipnorm = 2.0
    assert float(opt.inner_optimizer.learning_rate) == float(opt.lr) == 0.25
    assert opt.inner_optimizer.get_config()["momentum"] == 0.75
    assert opt.inner_optimizer.clipnorm == 2.0
    assert {"lr", "momentum", "weights", "loss_scale"} <= set(dir(opt)) | {"lr"}
    with pytest.raises(AttributeError):
        _ = opt.nesterov
    opt.set_weights(opt.get_weights())


def test_configs() -> None:
    opt = scaled(initial_scale=8.0, dynamic_growth_steps=3)
    data = json.loads(json.dumps(optimizers.serialize(opt)))
    again = optimizers.deserialize(data)
    assert isinstance(again, LossScaleOptimizer)
    assert again.get_config() == opt.get_config()
    for old in ("FixedLossScale", "DynamicLossScale"):
        config = {
            "FixedLossScale": {"loss_scale_value": 8.0},
            "DynamicLossScale": {
                "initial_loss_scale": 8.0,
                "increment_period": 3,
                "multiplier": 2.0,
            },
        }[old]
        layout = {
            "optimizer": optimizers.serialize(legacy.SGD()),
            "loss_scale": {"class_name": old, "config": config},
        }
        restored = LossScaleOptimizer.from_config(layout)
        assert restored.initial_scale == 8.0
        assert restored.dynamic == (old == "DynamicLossScale")
    config["multiplier"] = 4.0
    with pytest.raises(ValueError, match="whose multiplier is not 2"):
        LossScaleOptimizer.from_config(layout)


def test_arguments_are_checked() -> None:
    with pytest.raises(TypeError, match="cannot wrap another LossScaleOptimizer"):
        LossScaleOptimizer(scaled())
    with pytest.raises(TypeError, match="must be an instance of"):
        LossScaleOptimizer("sgd")
    with pytest.raises(TypeError, match="must be a bool, but got: 1"):
        scaled(dynamic=1)
    with pytest.raises(ValueError, match='"initial_scale" must be specified'):
        scaled(dynamic=False)
    with pytest.raises(ValueError, match='"dynamic_growth_steps" must be None'):
        scaled(dynamic=False, initial_scale=1.0, dynamic_growth_steps=2)
    inner = legacy.SGD()
    LossScaleOptimizer(inner)
    with pytest.raises(ValueError, match="already wrapped"):
        LossScaleOptimizer(inner)


# ----- around an optimizer of the current API ----------------------------------------------------


def current(**kwargs: Any) -> Any:
    return LossScaleOptimizer(optimizers.SGD(0.5, momentum=0.5, use_ema=True), **kwargs)


def test_the_class_goes_by_the_inner_optimizer() -> None:
    assert type(scaled()) is LossScaleOptimizer
    opt = current(initial_scale=8.0)
    assert type(opt).__name__ == "LossScaleOptimizerV3"
    with pytest.raises(TypeError, match=r"instance of `slotwise\.optimizers\.Optimizer`, but got"):
        type(opt)(legacy.SGD())
    data = json.loads(json.dumps(optimizers.serialize(opt)))
    again = optimizers.deserialize(data)
    assert type(again) is type(opt)
    assert again.get_config() == opt.get_config()
    old = optimizers.convert_to_legacy_optimizer(opt)
    assert type(old) is LossScaleOptimizer
    assert isinstance(old.inner_optimizer, legacy.SGD)
    assert old.initial_scale == 8.0


def test_steps_of_the_current_api() -> None:
    opt, var, other = current(initial_scale=4.0), Variable(np.zeros(1)), Variable(np.zeros(1))
    assert opt.apply_gradients([(np.array([np.inf]), var), (None, other)]) is None
    assert (float(opt.loss_scale), int(opt.iterations), var.value[0]) == (2, 1, 0)
    assert len(opt.variables) == 5  # built, with averages
    opt.apply_gradients([(np.ones(1), var)])
    assert var.value[0] == -0.5
    opt.finalize_variable_values([var])
    assert var.value[0] == pytest.approx(-0.005)
    with pytest.raises(ValueError, match="expected pairs, got an empty list"):
        opt.apply_gradients([])
    opt.learning_rate = 0.25
    opt.ema_momentum = 0.5
    assert float(opt.inner_optimizer.lr) == 0.25
    assert opt.inner_optimizer.ema_momentum == 0.5
    with pytest.raises(AttributeError):
        _ = opt.momentum


def test_minimize_of_the_current_api_scales_back() -> None:
    a, b = Variable(np.ones(2)), Variable(np.ones(2))
    opt, plain = current(), optimizers.SGD(0.5, momentum=0.5)
    for _ in range(3):
        opt.minimize(lambda: (a**2).sum(), [a])
        plain.minimize(lambda: (b**2).sum(), [b])
    assert np.array_equal(a, b)
