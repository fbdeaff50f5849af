# SPDX-License-Identifier: Apache-2.0
"""The grouping of ids: against np.unique, with ids made to be hard on it."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slotwise
from hypothesis import given
from hypothesis import strategies as st
from support.adversarial_ids import colliding, families
from support.cases import in_rows
from support.reference import Array

COUNT = 40_000  # of which several threads group a part each
FAMILIES = (*families(100, 1000),)
MANY_ROWS = (COUNT * 3, 2**31 + 5, 2**62)

every_family = pytest.mark.parametrize("family", FAMILIES)
every_threads = in_rows(threads=[1, 2, 3, 8])
pytestmark = pytest.mark.usefixtures("threads")


def grouped(ids: Array) -> tuple[Array, Array, Array]:
    """Distinct ids by first appearance, how often each occurs, and each id's place among them."""
    unique, first, inverse, counts = np.unique(
        ids, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return unique[order], counts[order], rank[inverse.reshape(-1)]


@pytest.mark.parametrize("num_rows", [2**32 - 1, 2**32, 2**32 + 1])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_as_many_rows_as_32_bits_tell_apart(num_rows: int, dtype: type[np.integer]) -> None:
    last = min(num_rows, 2 ** (8 * np.dtype(dtype).itemsize - 1)) - 1
    ids = np.array([last, 0, -1, last, last - 1], dtype)
    check(slotwise.RowPlan(ids, num_rows, bounds="skip"), ids, num_rows)
    with pytest.raises(ValueError, match=r"ids\[2\] = -1 is not in"):
        slotwise.RowPlan(ids, num_rows)


def test_a_plan_that_was_not_made() -> None:
    plan = slotwise.RowPlan.__new__(slotwise.RowPlan)
    for use in (len, lambda p: p.unique, lambda p: slotwise.coalesce(p, np.ones((1, 1)), 5)):
        with pytest.raises(TypeError, match="expected a RowPlan, got one whose __init__"):
            use(plan)


def check(plan: slotwise.RowPlan, ids: Array, num_rows: int) -> None:
    ids = ids.astype(np.int64)
    inside = (ids >= 0) & (ids < num_rows)
    unique, counts, inverse = grouped(ids[inside])
    places = np.full(ids.size, -1)
    places[inside] = inverse
    for got, want in ((plan.unique, unique), (plan.counts, counts), (plan.inverse, places)):
        assert got.dtype == np.int64
        assert got.shape == want.shape
        assert (got == want).all()
    assert len(plan) == ids.size
    assert plan.num_rows == num_rows
    assert plan.skipped == (~inside).sum()


@every_family
@every_threads
@in_rows(num_rows=MANY_ROWS)
def test_families(family: str, threads: int, num_rows: int) -> None:
    slotwise.set_num_threads(threads)
    ids = families(COUNT, num_rows)[family]
    check(slotwise.RowPlan(ids, num_rows), ids, num_rows)


@every_family
@every_threads
def test_int32(family: str, threads: int) -> None:
    slotwise.set_num_threads(threads)
    ids = families(COUNT, 2**31 - 1)[family].astype(np.int32)
    check(slotwise.RowPlan(ids, 2**31 - 1), ids, 2**31 - 1)


@every_family
@in_rows(count=[1, 2, 3, 7, 8, 9, 511, 512, 513, 1024, 8191, 8192, 16385])
def test_counts_of_ids(family: str, count: int) -> None:
    """Around the sizes at which a table grows, and at which threads are asked for help."""
    for num_rows in (1, 2, 1000, 2**40):
        ids = families(count, num_rows)[family] if num_rows > 1 else np.zeros(count, np.int64)
        check(slotwise.RowPlan(ids, num_rows), ids, num_rows)


@every_threads
@pytest.mark.parametrize("shift", [0, 1, 10, 32])
def test_hash_collisions(threads: int, shift: int) -> None:
    """Rows that a multiplicative hash sends to one place, each several times."""
    slotwise.set_num_threads(threads)
    rows = colliding(2_000, 2**62, shift)
    ids = np.concatenate([rows, rows[::-1], rows[::2]] * 8)
    check(slotwise.RowPlan(ids, 2**62), ids, 2**62)


def test_hash_collisions_do_not_take_forever() -> None:
    """Not the square of their number: at most 50 times as long as as many other ids."""
    count = 30_000
    spread = np.random.default_rng(1).integers(0, 2**62, count)
    seconds = []
    for ids in (spread, colliding(count, 2**62)):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            slotwise.RowPlan(ids, 2**62)
            times.append(time.perf_counter() - start)
        seconds.append(min(times))
    assert seconds[1] < 50 * seconds[0] + 0.01


@every_threads
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_skip(threads: int, index: type) -> None:
    slotwise.set_num_threads(threads)
    ids = np.random.default_rng(2).integers(-500, 1500, COUNT).astype(index)
    ids[[0, 7, -1]] = -1, np.iinfo(index).max, np.iinfo(index).min
    check(slotwise.RowPlan(ids, 1000, bounds="skip"), ids, 1000)
    outside = np.full(COUNT, -1, index)
    check(slotwise.RowPlan(outside, 1000, bounds="skip"), outside, 1000)


@every_threads
def test_first_outside(threads: int) -> None:
    slotwise.set_num_threads(threads)
    for at in (0, 1, COUNT // 2, COUNT - 1):
        ids = np.random.default_rng(3).integers(0, 1000, COUNT)
        ids[at:] += 1000
        with pytest.raises(ValueError, match="is not in") as caught:
            slotwise.RowPlan(ids, 1000)
        assert str(caught.value) == f"RowPlan: ids[{at}] = {ids[at]} is not in [0, 1000)"


@pytest.mark.parametrize("num_rows", [0, 1, 5, 2**62, 2**63 - 1])
def test_no_ids(num_rows: int) -> None:
    check(slotwise.RowPlan(np.zeros(0, np.int32), num_rows), np.zeros(0, np.int64), num_rows)


def test_largest_row() -> None:
    ids = np.array([2**63 - 2, 0, 2**63 - 2, 2**62])
    check(slotwise.RowPlan(ids, 2**63 - 1), ids, 2**63 - 1)


def test_keeps_nothing_of_the_ids() -> None:
    ids = np.array([3, 1, 3])
    plan = slotwise.RowPlan(ids, 4)
    ids[...] = 0
    check(plan, np.array([3, 1, 3]), 4)


def test_places_of_ids() -> None:
    ids = np.random.default_rng(4).integers(0, 50, 1001)
    read_only = ids.copy()
    read_only.flags.writeable = False
    for same in (np.repeat(ids, 2)[::2], read_only, ids[::-1].copy()[::-1], memoryview(ids)):
        check(slotwise.RowPlan(same, 50), ids, 50)
    assert slotwise.RowPlan(ids=ids, num_rows=50, bounds="raise").num_rows == 50


@given(
    ids=st.lists(st.integers(-3, 12) | st.integers(-(2**63), 2**63 - 1), max_size=60),
    num_rows=st.integers(0, 12) | st.integers(0, 2**63 - 1),
)
def test_any_ids(ids: list[int], num_rows: int) -> None:
    array = np.array(ids, np.int64)
    check(slotwise.RowPlan(array, num_rows, bounds="skip"), array, num_rows)


@pytest.mark.parametrize(
    ("changed", "error", "name"),
    [
        ({"ids": None}, TypeError, "ids"),
        ({"ids": [1, 2]}, TypeError, "ids"),
        ({"ids": np.ones(3)}, TypeError, "ids"),
        ({"ids": np.ones(3, np.uint64)}, TypeError, "ids"),
        ({"ids": np.ones(3, np.int16)}, TypeError, "ids"),
        ({"ids": np.ones(3, bool)}, TypeError, "ids"),
        ({"ids": np.ones((3, 1), np.int64)}, ValueError, "ids"),
        ({"ids": np.array(1)}, ValueError, "ids"),
        ({"num_rows": -1}, ValueError, "num_rows"),
        ({"num_rows": 2**63}, ValueError, "num_rows"),
        ({"num_rows": 2**100}, ValueError, "num_rows"),
        ({"num_rows": 1.5}, TypeError, "num_rows"),
        ({"num_rows": "3"}, TypeError, "num_rows"),
        ({"num_rows": None}, TypeError, "num_rows"),
        ({"bounds": "ignore"}, ValueError, "bounds"),
        ({"bounds": None}, TypeError, "bounds"),
    ],
)
def test_bad_input(changed: dict[str, object], error: type[Exception], name: str) -> None:
    arguments = {"ids": np.array([1, 2, 1]), "num_rows": 4, "bounds": "raise", **changed}
    with pytest.raises(error) as caught:
        slotwise.RowPlan(**arguments)
    message = str(caught.value)
    assert message.startswith(f"RowPlan: {name}: expected "), message
    assert ", got " in message
    assert "\n" not in message


def test_a_plan_is_no_ids() -> None:
    plan = slotwise.RowPlan(np.array([1, 2]), 4)
    with pytest.raises(TypeError, match="RowPlan: ids: expected"):
        slotwise.RowPlan(plan, 4)
