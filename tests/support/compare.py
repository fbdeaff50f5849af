# SPDX-License-Identifier: Apache-2.0
"""Comparing floating-point arrays: by bits and by distance."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from support.reference import Array


def bits(x: Array) -> Array:
    """The same memory as unsigned integers."""
    return x.view(f"u{x.dtype.itemsize}")


@np.errstate(all="ignore")
def is_nan(x: Array) -> Array:
    """np.isnan, which for bfloat16 warns of what it finds."""
    nan: Array = np.isnan(x)
    return nan


def same(a: Array, b: Array) -> Array:
    """Where two arrays have the same bits; one NaN is as good as another."""
    return (bits(a) == bits(b)) | (is_nan(a) & is_nan(b))


def assert_same(got: Array, want: Array, what: Any = "") -> None:
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    got, want = np.ascontiguousarray(got), np.ascontiguousarray(want)
    equal = same(got, want)
    if not equal.all():
        i = int(np.argmin(equal))
        a, b = got.reshape(-1)[i], want.reshape(-1)[i]
        count = int((~equal).sum())
        raise AssertionError(f"{what}: {count} of {got.size} differ, at {i}: {a!r}, expected {b!r}")


def ulp(dtype: Any, magnitude: Array) -> Array:
    """The spacing of numbers of this dtype at a magnitude, never that of its subnormals."""
    info = ml_dtypes.finfo(dtype)
    _, exponent = np.frexp(np.maximum(np.abs(magnitude), float(info.tiny)))
    return np.ldexp(magnitude.dtype.type(1), exponent - 1 - info.nmant)


@np.errstate(all="ignore")
def error(got: Array, exact: Array, *scales: Array) -> Array:
    """|got - exact| in ulps of got's dtype, at the largest of |got|, |exact| and the scales.

    Two NaNs, or two infinities of one sign, are 0 apart; a special value and another number, inf.
    """
    wide = np.promote_types(exact.dtype, np.float64)
    a, b = got.astype(wide), exact.astype(wide)
    magnitude = np.maximum(np.abs(a), np.abs(b))
    for scale in scales:
        magnitude = np.maximum(magnitude, np.abs(scale.astype(wide)))
    distance = np.abs(a - b) / ulp(got.dtype, magnitude)
    distance = np.where(np.isnan(distance), np.inf, distance.astype(np.float64))
    return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, distance)
