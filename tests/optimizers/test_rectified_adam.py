# SPDX-License-Identifier: Apache-2.0
"""RectifiedAdam, by the formulas of TensorFlow Addons and of PyTorch, as these write them."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from slotwise import IndexedSlices, Variable, interop, optimizers, raw_ops
from slotwise.optimizers._descriptions.rectifiedadam import length

Array = npt.NDArray[np.float64]
RATE, BETA_1 = 2.0**-7, 0.9
EPSILON = 1e-3  # so large that its place is seen
STEPS = 12


def addons(
    var: Array, m: Array, v: Array, grad: Array, step: int, beta_2: float, threshold: float = 5.0
) -> Array:
    beta_1_power, beta_2_power = BETA_1**step, beta_2**step
    sma_inf = 2.0 / (1.0 - beta_2) - 1.0
    sma_t = sma_inf - 2.0 * step * beta_2_power / (1.0 - beta_2_power)
    m[...] = BETA_1 * m + (1.0 - BETA_1) * grad
    m_corr_t = m / (1.0 - beta_1_power)
    v[...] = beta_2 * v + (1.0 - beta_2) * np.square(grad)
    v_corr_t = np.sqrt(v / (1.0 - beta_2_power))
    var_t = m_corr_t
    if sma_t >= threshold:
        r_t = math.sqrt(
            (sma_t - 4.0) / (sma_inf - 4.0) * (sma_t - 2.0) / (sma_inf - 2.0) * sma_inf / sma_t
        )
        var_t = r_t * m_corr_t / (v_corr_t + EPSILON)
    return var - RATE * var_t


def torch(
    var: Array, m: Array, v: Array, grad: Array, step: int, beta_2: float, threshold: float = 5.0
) -> Array:
    bias_correction1, bias_correction2 = 1 - BETA_1**step, 1 - beta_2**step
    m += (grad - m) * (1 - BETA_1)
    v[...] = v * beta_2 + grad * grad * (1 - beta_2)
    rho_inf = 2 / (1 - beta_2) - 1
    rho_t = rho_inf - 2 * step * (beta_2**step) / bias_correction2
    if not rho_t > threshold:
        return var - m / bias_correction1 * RATE
    rect = ((rho_t - 4) * (rho_t - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho_t)) ** 0.5
    adaptive = bias_correction2**0.5 / (np.sqrt(v) + EPSILON)
    return var - m / bias_correction1 * RATE * adaptive * rect


Formula = Callable[..., Array]
of_peers = pytest.mark.parametrize(
    ("formula", "adaptive_epsilon"), [(addons, True), (torch, False)], ids=["addons", "torch"]
)


def make(beta_2: float = 0.999, kind: Any = np.float64, **kwargs: Any) -> Any:
    """An optimizer with float64 hyperparameters, which are exact; a rate is kept as float32."""
    given = {"learning_rate": RATE, "beta_1": BETA_1, "beta_2": beta_2}
    exact = {name: kind(value) for name, value in given.items()}
    return optimizers.RectifiedAdam(**exact, **{"epsilon": EPSILON, **kwargs})


def gradients(shape: Any = 5) -> Array:
    return np.random.default_rng(3).standard_normal((STEPS, *np.atleast_1d(shape)))


def zeros(var: Array) -> tuple[Array, Array]:
    return np.zeros_like(var), np.zeros_like(var)


@of_peers
@pytest.mark.parametrize("beta_2", [0.999, 0.99, 0.9, 0.5])
@pytest.mark.parametrize("threshold", [5.0, 4.0])
def test_the_formulas_of_both_peers(
    formula: Formula, adaptive_epsilon: bool, beta_2: float, threshold: float
) -> None:
    opt = make(beta_2, adaptive_epsilon=adaptive_epsilon, sma_threshold=threshold)
    var = Variable(np.ones(5))
    expected = np.ones(5)
    m, v = zeros(expected)
    for number, grad in enumerate(gradients()):
        opt.apply_gradients([(grad, var)])
        expected = formula(expected, m, v, grad, number + 1, beta_2, threshold)
        np.testing.assert_allclose(var, expected, rtol=1e-14, atol=0)
        np.testing.assert_allclose(opt.variables[1], m, rtol=1e-13, atol=1e-16)
        np.testing.assert_allclose(opt.variables[2], v, rtol=1e-13, atol=0)


@of_peers
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_formulas_in_fewer_bits(formula: Formula, adaptive_epsilon: bool, dtype: Any) -> None:
    opt, var = make(kind=float, adaptive_epsilon=adaptive_epsilon), Variable(np.ones(5, dtype))
    expected = np.ones(5)
    m, v = zeros(expected)
    for number, grad in enumerate(gradients().astype(dtype)):
        opt.apply_gradients([(grad, var)])
        expected = formula(expected, m, v, grad.astype(np.float64), number + 1, 0.999)
    precision = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(var.numpy().astype(np.float64), expected, rtol=STEPS * precision)


@of_peers
def test_both_placements_in_the_op(formula: Formula, adaptive_epsilon: bool) -> None:
    var = np.ones(5)
    m, v = zeros(var)
    expected, its_m, its_v = var.copy(), m.copy(), v.copy()
    for number, grad in enumerate(gradients()):
        step = number + 1
        root = math.sqrt(1 - 0.999**step) if adaptive_epsilon else 1
        raw_ops.ApplyRAdam(
            *(var, m, v, BETA_1**step, 0.999**step, RATE, BETA_1, 0.999, EPSILON * root),
            *(length(0.999, step), 5.0, grad),
        )
        expected = formula(expected, its_m, its_v, grad, step, 0.999)
        np.testing.assert_allclose(var, expected, rtol=1e-14, atol=0)


def test_steps_are_adaptive_from_the_sixth_on() -> None:
    """Before, they go by the mean of gradients alone: twice the gradient, twice the step."""
    small, large = (Variable(np.zeros(1)) for _ in range(2))
    opts = make(), make()
    for number in range(1, 9):
        moved = []
        for opt, var, grad in zip(opts, (small, large), (1.0, 2.0), strict=True):
            before = float(var[0])
            opt.apply_gradients([(np.array([grad]), var)])
            moved.append(before - float(var[0]))
        assert moved[0] > 0
        assert moved[1] / moved[0] == pytest.approx(2 if number <= 5 else 1, rel=2e-3), number


def test_a_low_beta_2_is_never_adaptive() -> None:
    opt, var = make(0.5), Variable(np.zeros(1))
    for _ in range(50):
        before = float(var[0])
        opt.apply_gradients([(np.array([1e3]), var)])
        assert before - float(var[0]) == pytest.approx(RATE * 1e3)


@pytest.mark.parametrize(("dtype", "grad"), [(np.float32, 1e25), (np.float64, 1e200)])
def test_an_infinite_v_is_not_looked_at_before_steps_are_adaptive(dtype: Any, grad: Any) -> None:
    var = Variable(np.zeros(20, dtype))
    opt = make(kind=float)
    for _ in range(5):
        before = var.numpy()
        opt.apply_gradients([(np.full(20, grad, dtype), var)])
        assert not np.isfinite(opt.variables[2]).any()
        assert np.isfinite(var).all()
        assert np.all(var < before)


def test_no_gradient_without_epsilon() -> None:
    opt, var = make(epsilon=0.0), Variable(np.ones(3))
    for _ in range(8):
        opt.apply_gradients([(np.zeros(3), var)])
    assert np.array_equal(var, np.ones(3))


@given(beta_2=st.floats(0, 1, exclude_max=True), step=st.integers(1, 40))
@example(beta_2=0.999, step=6)
@example(beta_2=1 - 2.0**-53, step=1)
@example(beta_2=1 - 1e-12, step=6)
@example(beta_2=0.0, step=1)
@example(beta_2=5e-324, step=2)
def test_the_length_is_exact_next_to_one(beta_2: float, step: int) -> None:
    exact = Fraction(beta_2)
    longest = 2 / (1 - exact) - 1
    expected = longest - 2 * step * exact**step / (1 - exact**step)
    assert abs(length(beta_2, step) - expected) <= 4 * np.finfo(float).eps * longest


def test_the_length_in_the_type_of_the_variable_would_be_coarse() -> None:
    beta_2 = np.float32(0.999)
    power = beta_2 ** np.float32(6)
    coarse = 2 / (1 - beta_2) - 1 - 2 * np.float32(6) * power / (1 - power)
    assert abs(coarse - length(float(beta_2), 6)) > 5e-3
    assert length(0.999, 10**7) == pytest.approx(1999)
    assert length(0.999, 0) == pytest.approx(1999)  # of no meaning; such a step moves nothing


def test_arguments() -> None:
    for name, value, expected in (
        ("sma_threshold", 3.9, "expected a number of at least 4, got 3.9"),
        ("sma_threshold", True, "expected a number of at least 4, got"),
        ("beta_2", 1.0, "expected a number of at least 0 and below 1"),
        ("adaptive_epsilon", "no", "expected True or False, got 'no'"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"RectifiedAdam: {name}: {expected}"):
            optimizers.RectifiedAdam(**{name: value})
    for name in ("total_steps", "warmup_proportion", "min_lr", "amsgrad"):
        with pytest.raises(TypeError, match=f"{name} is not a valid argument"):
            optimizers.RectifiedAdam(**{name: 0.1})
    with pytest.raises(ValueError, match="decay is deprecated"):
        optimizers.RectifiedAdam(decay=0.1)
    opt = optimizers.RectifiedAdam()
    with pytest.raises(ValueError, match="sma_threshold: expected a number of at least 4"):
        opt.sma_threshold = 1.0


def test_names_and_configs() -> None:
    assert optimizers.RAdam is optimizers.RectifiedAdam
    assert type(optimizers.get("radam")) is optimizers.RAdam
    opt = make(sma_threshold=4.5, adaptive_epsilon=False)
    config = opt.get_config()
    assert (config["sma_threshold"], config["adaptive_epsilon"]) == (4.5, False)
    assert optimizers.deserialize(optimizers.serialize(opt)).get_config() == config
    assert optimizers.RAdam.from_config(config).get_config() == config


@pytest.mark.parametrize("sparse", ["keras", "lazy"])
def test_sparse_gradients(sparse: str) -> None:
    """As in TensorFlow Addons, rows without gradients keep their values, and their slots decay."""
    opt, var = make(sparse=sparse), Variable(np.ones((4, 3)))
    expected = np.ones((4, 3))
    m, v = zeros(expected)
    for number, drawn in enumerate(gradients((2, 3))):
        count = 1 if number % 4 == 2 else 2
        rows, grad = np.array([number % 4, 2])[:count], drawn[:count]
        opt.apply_gradients([(IndexedSlices(grad, rows, (4, 3)), var)])
        dense = np.zeros((4, 3))
        dense[rows] = grad
        others = np.setdiff1d(np.arange(4), rows)
        kept = [x[others] for x in (expected, m, v)]
        expected = addons(expected, m, v, dense, number + 1, 0.999)
        expected[others] = kept[0]
        if sparse == "lazy":
            m[others], v[others] = kept[1:]
        np.testing.assert_allclose(var, expected, rtol=1e-13, atol=0)
        np.testing.assert_allclose(opt.variables[1], m, rtol=1e-12, atol=1e-16)
        np.testing.assert_allclose(opt.variables[2], v, rtol=1e-12, atol=0)


def test_weights_decay_before_the_update() -> None:
    """They decay by the rate, as in Keras, and in PyTorch with `decoupled_weight_decay`."""
    opt, var = make(weight_decay=0.5), Variable(np.full(5, 2.0))
    plain, other = make(), Variable(np.full(5, 2.0) * (1 - RATE * 0.5))
    grad = gradients()[0]
    opt.apply_gradients([(grad, var)])
    plain.apply_gradients([(grad, other)])
    np.testing.assert_allclose(var, other, rtol=1e-15)


def test_it_goes_on_where_torch_stopped() -> None:
    """State of PyTorch, taken over before the first adaptive step, and after it."""
    steps = gradients()
    for taken in (3, 8):
        expected = np.ones(5)
        m, v = zeros(expected)
        for number in range(taken):
            expected = torch(expected, m, v, steps[number], number + 1, 0.999)
        opt, var = make(adaptive_epsilon=False), Variable(expected.copy(), name="w")
        state = {"step": np.float32(taken), "exp_avg": m.copy(), "exp_avg_sq": v.copy()}
        group = {"lr": RATE, "betas": (BETA_1, 0.999), "eps": EPSILON, "params": [0]}
        theirs = {"state": {0: state}, "param_groups": [group]}
        interop.load_torch_state_dict(opt, theirs, [var])
        for number in range(taken, STEPS):
            opt.apply_gradients([(steps[number], var)])
            expected = torch(expected, m, v, steps[number], number + 1, 0.999)
            np.testing.assert_allclose(var, expected, rtol=1e-14, atol=0)
