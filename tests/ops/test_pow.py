# SPDX-License-Identifier: Apache-2.0
"""The vector pow that Ftrl needs when lr_power is not -0.5: its error, and what follows from it.

With P(x) = x^-lr_power, ApplyFtrl on var 1, accum 0, linear 0 with lr 0 and multiply_linear_by_lr
leaves -P(g*g) in linear; on var anything, linear -1 and l1 = l2 = 0, a gradient of 0 leaves
1/P(accum) in var. That shows P on its own, at every x.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from support.cases import every_dtype
from support.compare import assert_same, error, ulp
from support.ops import BY_NAME, CASES, DTYPES, Case
from support.reference import Array, compute_dtype, ftrl_terms

FTRL = BY_NAME["ApplyFtrl"].default()
POW_CASES = [case for case in CASES if not case.exact]
LIMIT = {"f32": 2.0, "f64": 4.0}

full_precision = pytest.mark.parametrize("tag", ["f32", "f64"])
below_zero = pytest.mark.parametrize(
    "lr_power", [-0.1, -0.25, -0.49, -0.6, -0.7, -0.75, -1.0, -1.5, -2.0, -3.3, -17.0, -0.001]
)
above_zero = pytest.mark.parametrize("lr_power", [0.0, 0.1, 0.5, 1.0, 1.3, 2.0, 3.0])


def power_of_square(g: Array, lr_power: float) -> Array:
    """P(g*g) by the kernels; g*g is rounded to g's dtype."""
    linear = np.zeros_like(g)
    arrays = {"var": np.ones_like(g), "accum": np.zeros_like(g), "linear": linear, "grad": g}
    FTRL.call(arrays, lr=0.0, l1=0.0, l2=0.0, lr_power=lr_power, multiply_linear_by_lr=True)
    return -linear


def inverse_power(x: Array, lr_power: float) -> Array:
    """1 / P(x) by the kernels."""
    arrays = {"var": np.zeros_like(x), "accum": x.copy(), "linear": -np.ones_like(x)}
    arrays["grad"] = np.zeros_like(x)
    FTRL.call(arrays, lr=1.0, l1=0.0, l2=0.0, lr_power=lr_power, multiply_linear_by_lr=True)
    return arrays["var"]


def points(tag: str) -> Array:
    """Positive numbers: log-uniform over all that the dtype has, and close around powers of two."""
    dtype = DTYPES[tag]
    info = np.finfo(dtype)
    rng = np.random.default_rng(1)
    count = 60_000 if tag == "f32" else 1_500
    wide = np.exp2(rng.uniform(info.minexp, info.maxexp, count))
    usual = np.exp2(rng.uniform(-6, 6, count))
    near = [
        np.ldexp(1 + n * float(info.eps), e)
        for n in range(-20, 21)
        for e in (info.minexp + 1, -30, -3, -1, 0, 1, 2, 30, info.maxexp - 1)
    ]
    return np.concatenate([wide, usual, near]).astype(dtype)


def exact_power(x: Array, exponent: Any) -> Array:
    """x ** exponent rounded to float64: for float32 that is as good as exact."""
    if x.dtype == np.float32:
        with np.errstate(all="ignore"):
            return np.power(x.astype(np.float64), float(exponent))
    return np.array([float(power) for power in many_digits(x.tobytes(), float(exponent))])


def pow_error(got: Array, x: Array, exponent: Any) -> Array:
    """In ulps; a float64 result is compared with all the digits of the exact one."""
    info = np.finfo(got.dtype)
    exact = exact_power(x, exponent)
    in_range = (np.abs(exact) >= float(info.tiny)) & (np.abs(exact) <= float(info.max))
    if got.dtype == np.float32:
        return np.where(in_range, error(got, np.where(in_range, exact, 1)), np.nan)
    powers, units = many_digits(x.tobytes(), float(exponent)), ulp(got.dtype, exact)
    with mpmath.workprec(150):
        distances = [
            float((mpmath.mpf(float(a)) - power) / u) if ok else np.nan
            for a, power, u, ok in zip(got, powers, units, in_range, strict=True)
        ]
    return np.abs(distances)


@cache  # the same for every target
def many_digits(x: bytes, exponent: float) -> list[Any]:
    """float64 numbers ** exponent."""
    with mpmath.workprec(150):
        return [mpmath.power(v, exponent) for v in np.frombuffer(x).tolist()]


@full_precision
@below_zero
def test_error(tag: str, lr_power: float, target: str) -> None:
    g = np.sqrt(points(tag))
    errors = pow_error(power_of_square(g, lr_power), g * g, -DTYPES[tag].type(lr_power))
    assert np.nanmax(errors) <= LIMIT[tag]


@full_precision
@above_zero
def test_error_of_the_inverse(tag: str, lr_power: float, target: str) -> None:
    """The error of P is at most doubled, where the inverse lies in a binade of finer steps."""
    x = points(tag)
    normal = exact_power(x, -DTYPES[tag].type(lr_power)) >= float(np.finfo(x.dtype).tiny)
    x = x[normal]  # else P is 0, and its inverse infinite
    errors = pow_error(inverse_power(x, lr_power), x, DTYPES[tag].type(lr_power))
    assert np.nanmax(errors) <= 2 * LIMIT[tag] + 0.5


@full_precision
@pytest.mark.parametrize("lr_power", [-1.0, -2.0])
def test_small_integer_powers_of_few_bits_are_exact(tag: str, lr_power: float, target: str) -> None:
    g = np.arange(1, 30, dtype=DTYPES[tag])
    assert_same(power_of_square(g, lr_power), (g * g) ** DTYPES[tag].type(-lr_power))


@full_precision
def test_range(tag: str, target: str) -> None:
    """Beyond the largest number lies infinity; below the smallest normal one, zero."""
    dtype = DTYPES[tag]
    info = np.finfo(dtype)
    x = points(tag)
    for lr_power in (-1.5, -3.3, -17.0):
        g = np.sqrt(x)
        g = g[g * g >= info.tiny]
        got = power_of_square(g, lr_power)
        exact = exact_power(g * g, -dtype.type(lr_power))
        assert np.isinf(got[exact > float(info.max) * (1 + float(info.eps))]).all()
        small = float(info.tiny) * (1 - float(info.eps))
        assert (got[exact < small] == 0).all()
        assert (exact < small).any()
        assert (exact > float(info.max)).any()
        between = (exact >= small) & (exact <= float(info.max) * (1 - 4 * float(info.eps)))
        assert np.isfinite(got[between]).all()


@full_precision
@pytest.mark.parametrize(
    ("x", "lr_power", "inverse"),
    [
        (0.0, -0.7, np.inf),  # 1 / 0^0.7
        (np.inf, -0.7, 0.0),
        (-2.0, -1.0, -0.5),
        (-2.0, -2.0, 0.25),
        (0.0, 1.3, 0.0),
        (np.inf, 1.3, np.inf),
        (5.0, 0.0, 1.0),
        (0.0, 0.0, 1.0),
        (np.inf, 0.0, 1.0),
        (np.nan, 0.0, 1.0),
        (-3.0, 0.0, 1.0),
        (1.0, -1.7, 1.0),
        (1.0, 1e30, 1.0),
    ],
)
def test_special_operands(x: float, lr_power: float, inverse: float, tag: str, target: str) -> None:
    """As C's pow. (Any other power of NaN makes linear NaN, and var 0: see test_special.py.)"""
    dtype = DTYPES[tag]
    got = inverse_power(np.full(17, x, dtype), lr_power)
    assert_same(got, np.full(17, inverse, dtype))


@full_precision
def test_subnormal_operand_counts_as_zero(tag: str, target: str) -> None:
    x = np.full(17, np.finfo(DTYPES[tag]).smallest_subnormal * 9)
    assert_same(inverse_power(x, -0.7), np.full(17, np.inf, DTYPES[tag]))
    assert_same(inverse_power(x, 0.7), np.zeros(17, DTYPES[tag]))


@full_precision
@below_zero
def test_every_target_gives_the_same_bits(tag: str, lr_power: float, target: str) -> None:
    import slotwise

    g = np.sqrt(points(tag))
    got = power_of_square(g, lr_power)
    slotwise.set_target(None)
    assert_same(got, power_of_square(g, lr_power))


@pytest.mark.parametrize("case", POW_CASES, ids=str)
@every_dtype
def test_ftrl(case: Case, tag: str) -> None:
    """What the error of two powers, each within its limit, can do to a result, and no more."""
    dtype, work = DTYPES[tag], compute_dtype(DTYPES[tag])
    arrays = case.draw(dtype, 5000, seed=1)
    exact = case.expected(arrays, compute=np.float64)
    start = {name: array.astype(np.float64) for name, array in arrays.items()}
    case.call(arrays)

    limit = LIMIT["f64" if tag == "f64" else "f32"]
    # float16 and bfloat16 also round once when they store.
    stored = 0.5 * (dtype != work)

    # linear + (gs - change / lr * var): `change` carries the errors of both powers, and each of
    # the five operations rounds.
    terms = ftrl_terms(start, exact, case.hyper, case.attrs)
    sizes = (terms["linear"], exact["linear"], *start.values())
    largest = np.max([np.abs(x) for x in sizes], axis=0)
    eps = float(np.finfo(work).eps)
    of_linear = limit * eps * terms["linear"] + 2.5 * ulp(work, largest)
    denominator = terms["linear"] / terms["var"]
    of_var = (of_linear + ulp(work, exact["linear"])) / denominator
    bound = {
        "accum": ulp(work, exact["accum"]),
        "linear": of_linear,
        "var": of_var + (limit + 2) * eps * np.abs(exact["var"]),
    }
    for name, value in bound.items():
        distance = np.abs(arrays[name].astype(np.float64) - exact[name])
        assert (distance <= value + stored * ulp(dtype, exact[name])).all(), name
