# SPDX-License-Identifier: Apache-2.0
"""The exp that PowerSign needs: its error and its range.

ApplyPowerSign on var 0, m 1, grad 1 with lr 1, beta 1, sign_decay 1 leaves -exp(logbase).
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from support import reference
from support.compare import assert_same, ulp
from support.ops import BY_NAME, DTYPES
from support.reference import Array

POWER_SIGN = BY_NAME["ApplyPowerSign"].default()

full_precision = pytest.mark.parametrize("tag", ["f32", "f64"])


def exp(x: Array) -> Array:
    """By the kernels."""
    found = np.empty_like(x)
    for place, exponent in enumerate(x):
        one = np.ones(1, x.dtype)
        arrays = {"var": np.zeros_like(one), "m": one.copy(), "grad": one}
        POWER_SIGN.call(arrays, lr=1.0, logbase=float(exponent), sign_decay=1.0, beta=1.0)
        found[place] = 0 - arrays["var"][0]
    return found


def exponents(tag: str) -> Array:
    """Over all of the range, close to 0, and close to where the power of two changes."""
    info = np.finfo(DTYPES[tag])
    rng = np.random.default_rng(3)
    lowest, highest = math.log(float(info.tiny)), math.log(float(info.max))
    wide = rng.uniform(lowest, highest, 1500)
    near_zero = np.ldexp(rng.uniform(-1, 1, 500), rng.integers(-70, 2, 500))
    halves = (rng.integers(-100, 100, 200) + 0.5) * math.log(2)
    around = np.nextafter(halves, rng.choice([-np.inf, np.inf], 200))
    found = np.concatenate([wide, near_zero, halves, around, [0.0, -0.0, 1.0, -1.0]])
    return found.astype(DTYPES[tag])


@full_precision
def test_error(tag: str, target: str) -> None:
    x = exponents(tag)
    got = exp(x)
    info = np.finfo(got.dtype)
    with mpmath.workprec(150):
        exact = [mpmath.exp(float(value)) for value in x]
        units = ulp(got.dtype, np.array([float(value) for value in exact]))
        is_normal = [info.tiny <= value <= info.max for value in exact]
        off = [
            abs(float((mpmath.mpf(float(value)) - true) / unit))
            for value, true, unit, normal in zip(got, exact, units, is_normal, strict=True)
            if normal
        ]
    assert len(off) == x.size
    assert max(off) <= (0.51 if tag == "f32" else 1.1)


@full_precision
def test_as_the_reference(tag: str, target: str) -> None:
    x = exponents(tag)
    assert_same(exp(x), np.array([reference.exp(reference.Vec(value)).data for value in x]))


@full_precision
def test_range(tag: str, target: str) -> None:
    info = np.finfo(DTYPES[tag])
    lowest, highest = math.log(float(info.tiny)), math.log(float(info.max))
    far = [lowest - 1, -1100.0, -1e30, 0.0, -0.0, highest + 1, 1100.0, 1e30]
    expected = [0, 0, 0, 1, 1, np.inf, np.inf, np.inf]
    dtype = DTYPES[tag]
    assert_same(exp(np.array(far, dtype)), np.array(expected, dtype))


@full_precision
@pytest.mark.parametrize(("sign", "expected"), [(1, -np.inf), (-1, 0)])
def test_an_infinite_exponent(tag: str, sign: int, expected: float, target: str) -> None:
    """The product of finite numbers may be infinite."""
    var, one = np.zeros(1, DTYPES[tag]), np.ones(1, DTYPES[tag])
    large = float(np.finfo(DTYPES[tag]).max)
    arrays = {"var": var, "m": one.copy(), "grad": one}
    POWER_SIGN.call(arrays, lr=1.0, logbase=sign * large, sign_decay=2.0, beta=1.0)
    assert_same(var, np.array([expected], var.dtype))
