# SPDX-License-Identifier: Apache-2.0
"""duplicates="exact": sums that are rounded once, whatever the order of ids."""

from __future__ import annotations

import numpy as np
import pytest
import slotwise
from hypothesis import given, settings
from hypothesis import strategies as st
from slotwise import raw_ops
from support.bags import rounded_once, summed_exactly
from support.cases import every_dtype, every_sparse_op, in_rows
from support.compare import assert_same
from support.memory import copies
from support.ops import DTYPES
from support.reference import Array, compute_dtype
from support.rows import SparseCase

IDS = np.array([3, 0, 7, 3, 8, 3, 0, 5, 3, 8])
ROWS = 9


def exactly(ids: Array, grads: Array, num_rows: int = ROWS) -> tuple[Array, Array]:
    """Sums, by row."""
    unique, sums = slotwise.coalesce(ids, grads, num_rows, exact=True)
    order = np.argsort(unique, kind="stable")
    return unique[order], sums[order]


def total(terms: Array) -> Array:
    """The sum of rows."""
    return slotwise.coalesce(np.zeros(len(terms), np.int64), terms, 1, exact=True)[1][0]


def scaled(rng: np.random.Generator, shape: tuple[int, ...], dtype: type, largest: float) -> Array:
    """Numbers of all scales between 1 / largest and largest."""
    logs = rng.uniform(-np.log10(largest), np.log10(largest), shape)
    return (rng.standard_normal(shape) * 10.0**logs).astype(dtype)


@every_dtype
@in_rows(width=[*range(1, 34), 64, 100])
def test_every_width(tag: str, width: int, target: str) -> None:
    grads = np.random.default_rng(1).standard_normal((IDS.size, width)).astype(DTYPES[tag])
    unique, sums = summed_exactly(IDS, grads)
    got = slotwise.coalesce(IDS, grads, ROWS, exact=True)
    assert (got[0] == unique).all()
    assert_same(got[1], sums)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(st.integers(0, 2**32), st.integers(2, 60), st.sampled_from([1.0, 1e3, 1e15, 1e30]))
@settings(max_examples=200)
def test_any_order_and_any_split(dtype: type, seed: int, count: int, largest: float) -> None:
    rng = np.random.default_rng(seed)
    terms = scaled(rng, (count, 9), dtype, largest)
    terms[rng.random(terms.shape) < 0.3] *= -1
    if count > 4:  # some cancel
        terms[count // 2] = -terms[0]
    want = rounded_once(terms)
    assert_same(total(terms), want)
    for _ in range(3):
        assert_same(total(rng.permutation(terms, axis=0)), want, "another order")
        halves = rng.permutation(np.concatenate([terms / 2, terms / 2]), axis=0)
        assert_same(total(halves), want, "halves")


@in_rows(tag=["f16", "bf16"])
def test_16_bit_sums_are_rounded_once(tag: str, target: str) -> None:
    """Not to float32 first: that may make a tie."""
    dtype = DTYPES[tag]
    half = 2.0**-11 if tag == "f16" else 2.0**-8  # of the last place of 1
    for sign in (1, -1):
        for rest, want in ((2.0**-24, 1 + 2 * half), (0, 1), (-(2.0**-24), 1)):
            terms = np.array([[1], [half], [rest]], np.float64) * sign
            assert_same(total(terms.astype(dtype)), np.array([want * sign]).astype(dtype), rest)
    rng = np.random.default_rng(6)
    for _ in range(50):
        terms = scaled(rng, (40, 9), dtype, 1e2)
        assert_same(total(terms), rounded_once(terms))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_numbers(dtype: type, target: str) -> None:
    inf, nan, top = np.inf, np.nan, float(np.finfo(dtype).max)
    tiny, eps = float(np.finfo(dtype).tiny), float(np.finfo(dtype).eps)
    cases = [
        ([inf, 1.0, 2.0], inf),
        ([1.0, -inf, 2.0], -inf),
        ([inf, 1.0, -inf], nan),
        ([1.0, nan, inf], nan),
        ([top, top], inf),
        ([top, top, -top, -top], 0.0),
        ([top, top, -top], top),
        ([-top, -top, -top, top, 1.0], -inf),
        ([-0.0, -0.0], 0.0),
        ([0.0, -0.0], 0.0),
        ([tiny, -tiny / 2], tiny),  # denormals are 0
        ([1.0, eps / 2], 1.0),  # a tie, to even
        ([1.0 + eps, eps / 2], 1.0 + 2 * eps),
        ([1.0, eps / 2, tiny], 1.0 + eps),  # above the tie, by next to nothing
        ([1.0 + eps, eps / 2, -tiny], 1.0 + eps),
        ([-1.0, -eps / 2, -tiny], -1.0 - eps),
        ([1e30, 1.0, -1e30], 1.0),
        ([1e-30, 1e30, -1e30], 1e-30),
    ]
    for terms, want in cases:
        array = np.array(terms, dtype)
        for order in (array, array[::-1], np.roll(array, 1)):
            column = np.repeat(order[:, None], 5, axis=1)
            assert_same(total(column), np.full(5, want, dtype), f"{terms}")


@given(st.lists(st.floats(width=64, allow_nan=False, allow_infinity=False), min_size=2, max_size=9))
@settings(max_examples=300)
def test_any_float64(terms: list[float]) -> None:
    """Denormals, and sums that overflow on the way, too."""
    smallest = np.finfo(np.float64).tiny
    array = np.array(terms)
    array[np.abs(array) < smallest] = 0
    from fractions import Fraction

    exact = sum(map(Fraction, array.tolist()), Fraction(0))
    try:
        want = float(exact)
    except OverflowError:
        want = float(np.copysign(np.inf, int(exact > 0) - 0.5))
    if abs(want) < smallest:
        return  # flushed, or rounded up to it
    assert_same(total(array[:, None]), np.array([want]))


def test_most_sums_of_float32_are_exact_without_a_slow_path() -> None:
    """And very many terms of one row are summed as few are."""
    rng = np.random.default_rng(2)
    terms = rng.standard_normal((30_000, 3)).astype(np.float32)
    assert_same(total(terms), rounded_once(terms))


@every_sparse_op
@every_dtype
def test_every_op(case: SparseCase, tag: str) -> None:
    """The op by the sums; in any order of the batch."""
    arrays = case.draw(DTYPES[tag], ROWS, 7, IDS.size, seed=1)
    work = arrays["grad"].astype(compute_dtype(DTYPES[tag]))
    got = copies(arrays)
    case.call(got, IDS, duplicates="exact")
    if case.case.exact:
        unique, sums = summed_exactly(IDS, work)
        want = case.expected({**arrays, "grad": sums}, unique)
        for name in case.op.outputs:
            assert_same(got[name], want[name], name)
    rng = np.random.default_rng(3)
    for _ in range(3):
        order = rng.permutation(IDS.size)
        other = copies({**arrays, "grad": arrays["grad"][order]})
        case.call(other, IDS[order], duplicates="exact")
        for name in case.op.outputs:
            assert_same(other[name], got[name], name)


@pytest.mark.usefixtures("threads")
def test_threads_and_plans() -> None:
    rng = np.random.default_rng(4)
    ids = np.minimum(rng.zipf(1.2, 60_000) - 1, 2_999)
    grads = scaled(rng, (ids.size, 5), np.float32, 1e6)
    want = exactly(ids, grads, 3_000)
    for threads in (1, 2, 3, 8):
        slotwise.set_num_threads(threads)
        order = rng.permutation(ids.size)
        plan = slotwise.RowPlan(ids[order], 3_000)
        got = exactly(plan, grads[order], 3_000)
        assert (got[0] == want[0]).all()
        assert_same(got[1], want[1], threads)


def test_gradients_of_bags() -> None:
    rng = np.random.default_rng(5)
    ids, offsets = rng.integers(0, 9, 60), np.arange(0, 60, 3)
    grads, weights = scaled(rng, (20, 4), np.float32, 1e3), rng.random(60, np.float32)
    results = []
    for order in (np.arange(20), rng.permutation(20)):
        var = np.ones((9, 4), np.float32)
        own = (order[:, None] * 3 + np.arange(3)).reshape(-1)
        raw_ops.SparseApplyGradientDescent(
            *(var, 0.5, grads[order], ids[own]),
            duplicates="exact",
            offsets=offsets,
            weights=weights[own],
        )
        results.append(var)
    assert_same(results[1], results[0])
