# SPDX-License-Identifier: Apache-2.0
"""Bags of ids by NumPy: pooling in order, gradients of ids, sums rounded once."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from support.reference import Array, Vec, compute_dtype
from support.rows import occurrences

MODES = ("sum", "mean", "sqrtn")


def bounds(offsets: Array, count: int) -> Iterator[tuple[int, int]]:
    """The first id of each bag, and the one after its last."""
    ends = [*offsets[1:], count]
    return zip(map(int, offsets), map(int, ends[: len(offsets)]), strict=True)


def divisor(weights: Array | None, start: int, stop: int, mode: str, work: np.dtype) -> Array:
    """What the sum of a bag is divided by, added up in order; what is divided by 0 is 0."""
    total = Vec(np.zeros((), work))
    for i in range(start, stop):
        weight = Vec(work.type(1 if weights is None else weights[i]))
        total = total + (weight * weight if mode == "sqrtn" else weight)
    with np.errstate(all="ignore"):
        found = (np.sqrt(total) if mode == "sqrtn" else total).data
    return np.asarray(np.inf, work) if found == 0 else found


def pooled(x: Array, ids: Array, offsets: Array, weights: Array | None, mode: str) -> Array:
    """Sums in order in the compute type, rounded once; a bag of nothing is 0."""
    work = compute_dtype(x.dtype)
    out = np.zeros((offsets.size, *x.shape[1:]), x.dtype)
    for bag, (start, stop) in enumerate(bounds(offsets, ids.size)):
        total = Vec(np.zeros(x.shape[1:], work))
        for i in range(start, stop):
            row = Vec(x[ids[i]].astype(work))
            total = total + (row if weights is None else row * Vec(work.type(weights[i])))
        if mode != "sum" and stop > start:
            total = total / Vec(divisor(weights, start, stop, mode, work))
        out[bag] = total.data.astype(x.dtype)
    return out


def expanded(grads: Array, offsets: Array, count: int, weights: Array | None, mode: str) -> Array:
    """The gradient of each id, in the compute type."""
    work = compute_dtype(grads.dtype)
    out = np.zeros((count, *grads.shape[1:]), work)
    for bag, (start, stop) in enumerate(bounds(offsets, count)):
        scale = divisor(weights, start, stop, mode, work)
        for i in range(start, stop):
            factor = Vec(work.type(1 if weights is None else weights[i]))
            if mode != "sum":
                factor = factor / Vec(scale)
            out[i] = (Vec(grads[bag].astype(work)) * factor).data
    return out


def rounded_once(terms: Array) -> Array:
    """The sum along the first axis, as if nothing were rounded before its end."""
    flat = terms.reshape(len(terms), -1)
    sums = [_rounded_once(flat[:, i].astype(np.float64), terms.dtype) for i in range(flat.shape[1])]
    return np.array(sums, terms.dtype).reshape(terms.shape[1:])


def _rounded_once(terms: Array, dtype: np.dtype) -> np.generic:
    if not np.isfinite(terms).all():
        with np.errstate(all="ignore"):
            return dtype.type(terms.sum())
    found = np.float64(math.fsum(terms))
    rest = math.fsum([*terms, -found])
    if dtype != np.float64 and rest != 0:
        found = _odd(found, math.copysign(math.inf, rest))
    if dtype.itemsize == 2:
        narrow = np.float32(found)
        if narrow != found:
            found = _odd(narrow, math.copysign(math.inf, found - np.float64(narrow)))
    return dtype.type(found)


def _odd(nearest: np.floating, towards: float) -> np.floating:
    """Of the numbers around what was rounded to the nearest one, the odd one.

    It can be rounded again, to fewer bits, as if it had not been rounded at all.
    """
    is_odd = nearest.view(f"u{nearest.itemsize}") % 2 == 1
    return nearest if is_odd else np.nextafter(nearest, nearest.dtype.type(towards))


def summed_exactly(ids: Array, grads: Array) -> tuple[Array, Array]:
    """Distinct ids by first appearance, and their gradients' sums."""
    order = [ids[i] for i in next(occurrences(ids), np.zeros(0, np.int64))]
    with np.errstate(over="ignore"):
        sums = [
            grads[ids == row][0] if (ids == row).sum() == 1 else rounded_once(grads[ids == row])
            for row in order
        ]
    return np.array(order, np.int64), np.array(sums, grads.dtype).reshape(-1, *grads.shape[1:])
