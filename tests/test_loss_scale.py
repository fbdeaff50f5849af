"""LossScaleOptimizer; its numbers are compared with Keras's in parity/test_keras_parity.py."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pytest
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
