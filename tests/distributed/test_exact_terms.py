# SPDX-License-Identifier: Apache-2.0
"""Rows that add up, exactly, to the sums of the gradients of equal ids."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slotwise import PooledSlices, RowPlan, _core
from support.cases import every_dtype, in_rows
from support.ops import DTYPES
from support.reference import Array

ROWS = 50


def terms(ids: Array, grads: Array, order: Array | None = None) -> tuple[RowPlan, list[Array]]:
    """The rows of each distinct id."""
    plan = RowPlan(ids, ROWS)
    order = np.arange(len(plan.unique)) if order is None else order
    counts, rows = _core.exact_terms(plan, grads, order)
    assert rows.dtype == grads.dtype
    assert len(rows) == counts.sum()
    return plan, np.split(rows, np.cumsum(counts)[:-1]) if len(counts) else []


def totals(rows: Array) -> list[Fraction]:
    """The sum of each column, without rounding."""
    columns = rows.reshape(len(rows), -1).T.astype(np.float64)
    return [sum(map(Fraction, column.tolist()), Fraction(0)) for column in columns]


def drawn(tag: str, count: int, width: int, spread: float, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.uniform(-spread, spread, (count, 1))
    with np.errstate(over="ignore"):
        return (rng.standard_normal((count, width)) * scales).astype(DTYPES[tag])


@every_dtype
@in_rows(spread=[0, 1, 3], width=[1, 3, 8, 33, 64])
def test_they_add_up(tag: str, spread: float, width: int, target: str) -> None:
    rng = np.random.default_rng(5)
    ids = np.concatenate([rng.integers(0, ROWS, 150), np.full(150, 7), [1, 2, 2, 3, 3, 3]])
    grads = drawn(tag, ids.size, width, spread, 3)
    order = rng.permutation(len(np.unique(ids)))
    plan, found = terms(ids, grads, order)
    for place, rows in zip(order, found, strict=True):
        own = grads[ids == plan.unique[place]]
        assert totals(rows) == totals(own)
        assert len(rows) <= len(own)
        if len(own) <= 2:
            assert (rows.view(np.uint8) == own.view(np.uint8)).all()
    if spread <= 1:  # few rows hold it, whatever the number of gradients
        assert max(map(len, found)) <= 4


@given(
    st.sampled_from([*DTYPES]),
    st.integers(1, 80),
    st.floats(0, 30),
    st.integers(0, 2**32 - 1),
)
def test_any_scales(tag: str, count: int, spread: float, seed: int) -> None:
    """Sums of numbers far from each other are held by rows, or left as they are."""
    grads = drawn(tag, count, 3, spread, seed)
    tiny = float(np.finfo(np.float64 if tag == "f64" else np.float32).tiny)
    wide = grads.astype(np.float64)
    if tag != "f16":
        grads[np.abs(wide) < tiny] = 0  # which kernels take for 0
    _, (rows,) = terms(np.zeros(count, np.int64), grads)
    if np.isfinite(grads.astype(np.float64)).all():
        assert totals(rows) == totals(grads)
    else:
        assert (rows.view(np.uint8) == grads.view(np.uint8)).all()


@every_dtype
def test_what_has_no_sum_stays(tag: str) -> None:
    for special in (np.inf, np.nan):
        grads = np.ones((5, 2), DTYPES[tag])
        grads[3, 1] = special
        _, (rows,) = terms(np.zeros(5, np.int64), grads)
        assert (rows.view(np.uint8) == grads.view(np.uint8)).all()


@every_dtype
def test_sums_beyond_the_largest_number_stay(tag: str) -> None:
    largest = {"f16": 65504.0, "bf16": 3e38, "f32": 3e38, "f64": 1.7e308}[tag]
    grads = np.full((4, 2), largest, DTYPES[tag])
    grads[2:] *= -1
    _, (rows,) = terms(np.zeros(4, np.int64), grads[[0, 1, 2, 2]])
    assert np.isfinite(rows.astype(np.float64)).all()
    _, (rows,) = terms(np.zeros(4, np.int64), grads)
    assert totals(rows) == [0, 0]


@every_dtype
@in_rows(mode=["sum", "mean", "sqrtn"], weighted=[False, True], width=[1, 3, 33])
def test_gradients_of_bags(tag: str, mode: Any, weighted: bool, width: int) -> None:
    """They give the rows, and the sums, of the gradients that they stand for."""
    rng = np.random.default_rng(8)
    ids = np.concatenate([rng.integers(-2, ROWS + 2, 100), rng.integers(0, 3, 200)])
    offsets = np.sort([0, 0, *rng.integers(0, ids.size + 1, 20)])
    weights = rng.standard_normal(ids.size).astype(np.float32) if weighted else None
    grads = drawn(tag, len(offsets), 2 * width, 1, 3)[:, ::2]
    plan = RowPlan(ids, ROWS, bounds="skip")
    expanded = PooledSlices(grads, plan, offsets, weights, mode).values
    bags = offsets, weights, mode, False
    order = rng.permutation(len(plan.unique))
    expected, found = (
        (
            *_core.exact_terms(plan, rows, order, *of),
            *(_core.coalesce(plan, rows, ROWS, exact, *of)[1] for exact in (False, True)),
        )
        for rows, of in ((expanded, ()), (grads, (bags,)))
    )
    for array, other in zip(expected, found, strict=True):
        assert array.dtype == other.dtype
        assert array.shape == other.shape
        assert array.tobytes() == other.tobytes()


def test_bags_are_checked() -> None:
    plan, order = RowPlan(np.zeros(3, np.int64), ROWS), np.array([0])
    for call in (
        lambda *given: _core.exact_terms(plan, given[0], order, given[1]),
        lambda *given: _core.coalesce(plan, given[0], ROWS, False, given[1]),
    ):
        with pytest.raises(ValueError, match=r"grads: expected shape \(2, 1\), a row for each bag"):
            call(np.zeros((3, 1)), ([0, 1], None, "sum", False))
        with pytest.raises(ValueError, match="grads: expected"):
            call(np.zeros(()), ([0, 1], None, "sum", False))
        with pytest.raises(ValueError, match="offsets: expected them to ascend from 0 to at most"):
            call(np.zeros((2, 1)), ([0, 4], None, "sum", False))


def test_empty() -> None:
    assert terms(np.zeros(0, np.int64), np.zeros((0, 3), np.float32))[1] == []
    plan, found = terms(np.array([4, 4, 4]), np.zeros((3, 0), np.float32))
    assert plan.unique.tolist() == [4]
    assert sum(map(len, found)) in (1, 3)


def test_skipped_ids_are_left_out() -> None:
    plan = RowPlan(np.array([1, -1, 1, 99, 1]), ROWS, bounds="skip")
    grads = np.array([[1.0], [100.0], [2.0], [100.0], [4.0]])
    counts, rows = _core.exact_terms(plan, grads, np.array([0]))
    assert counts.tolist() == [1]
    assert rows.tolist() == [[7.0]]


@pytest.mark.parametrize(
    ("grads", "order", "match"),
    [
        (np.zeros((2, 1)), [0], "grads: expected 3 rows"),
        (np.zeros((3, 1)), [1], r"order\[0\] = 1 is not in"),
        (np.zeros((3, 1), np.int64), [0], "grads"),
    ],
)
def test_refused(grads: Any, order: Any, match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        _core.exact_terms(RowPlan(np.zeros(3, np.int64), ROWS), grads, np.array(order))
