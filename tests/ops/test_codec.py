# SPDX-License-Identifier: Apache-2.0
"""float16 and bfloat16 in memory: every pattern loaded, every kind of rounding stored."""

from __future__ import annotations

import numpy as np
import pytest
from support.compare import assert_same, bits, is_nan
from support.ops import BY_NAME, DTYPES
from support.reference import Array

GRADIENT_DESCENT = BY_NAME["ApplyGradientDescent"].default()

half_precision = pytest.mark.parametrize("tag", ["f16", "bf16"])


def every_pattern(tag: str) -> Array:
    return np.arange(1 << 16, dtype=np.uint16).view(DTYPES[tag])


@np.errstate(all="ignore")
def finite_patterns(tag: str) -> Array:
    x = every_pattern(tag)
    return x[~is_nan(x - x)]


def subtract(var: Array, delta: Array, alpha: float) -> Array:
    """var - delta*alpha, by the kernels."""
    var = var.copy()
    GRADIENT_DESCENT.call({"var": var, "delta": delta}, alpha=alpha)
    return var


def check(var: Array, delta: Array, alpha: float) -> None:
    expected = GRADIENT_DESCENT.but(alpha=alpha).expected({"var": var, "delta": delta})
    assert_same(subtract(var, delta, alpha), expected["var"])


@half_precision
def test_every_pattern_survives(tag: str, target: str) -> None:
    """x - 0 is x; bfloat16's subnormals, being float32's, become zero; NaN stays NaN."""
    x = every_pattern(tag)
    got = subtract(x, np.zeros_like(x), alpha=0.0)
    expected = x.copy()
    if tag == "bf16":
        subnormal = (bits(x) & 0x7F80) == 0
        bits(expected)[subnormal] &= 0x8000
    assert_same(got, expected)


@half_precision
def test_nan_comes_out_quiet(tag: str, target: str) -> None:
    x = every_pattern(tag)
    x = x[is_nan(x)]
    got = bits(subtract(x, np.zeros_like(x), alpha=0.0))
    quiet = 0x0200 if tag == "f16" else 0x0040
    assert ((got & quiet) != 0).all()
    assert ((got & 0x8000) == (bits(x) & 0x8000)).all()


@half_precision
@pytest.mark.parametrize("nudge", [0.0, 2.0**-20, -(2.0**-20), 0.4, -0.4])
@pytest.mark.parametrize("sign", [1, -1])
def test_rounds_to_nearest_even(tag: str, nudge: float, sign: int, target: str) -> None:
    """Each finite number plus half the distance to the next: ties, and both sides of them."""
    x = finite_patterns(tag)
    magnitude = np.abs(x)
    below = (bits(magnitude) - (magnitude == magnitude.max())).view(x.dtype).astype(np.float64)
    above = (bits(below.astype(x.dtype)) + 1).view(x.dtype).astype(np.float64)
    step = (above - below).astype(x.dtype)  # a power of two, at the end of the range the last one
    check(x, step, alpha=sign * (0.5 + nudge))


@half_precision
@pytest.mark.parametrize("alpha", [1 / 3, -1.0009765625, 1.00390625, 0.1, 3e-5, -7e4, 1e-38, 3e38])
def test_products_of_every_pattern(tag: str, alpha: float, target: str) -> None:
    """float32 products from all binades: into subnormals of float16, to zero, to infinity."""
    x = every_pattern(tag)
    check(np.zeros_like(x), x, alpha)
