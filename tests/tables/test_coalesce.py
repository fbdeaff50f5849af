# SPDX-License-Identifier: Apache-2.0
"""slotwise.coalesce: distinct ids in order of first appearance, and the sums of their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import slotwise
from support.adversarial_ids import colliding, families
from support.cases import every_dtype, every_index, in_rows
from support.compare import assert_same
from support.ops import DTYPES
from support.reference import Array
from support.rows import summed

IDS = np.array([3, 0, 7, 3, 8, 3, 0, 5, 3, 8])


def gradients(tag: str, shape: tuple[int, ...], seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(DTYPES[tag])


def check(ids: Array, grads: Array, num_rows: int) -> None:
    unique, sums = summed(ids, grads)
    uniq, got, inverse = slotwise.coalesce(ids, grads, num_rows, return_inverse=True)
    assert uniq.dtype == np.int64
    assert (uniq == unique).all()
    assert_same(got, sums.astype(grads.dtype), "sums")
    assert (uniq[inverse] == ids).all()


@every_dtype
@every_index
def test_every_width(tag: str, index: type, target: str) -> None:
    for width in (*range(1, 34), 64, 100, 128, 256):
        check(IDS.astype(index), gradients(tag, (IDS.size, width)), 9)


@every_dtype
@in_rows(row=[(), (1,), (2, 3), (0,)])
def test_shapes(tag: str, row: tuple[int, ...]) -> None:
    check(IDS, gradients(tag, (IDS.size, *row)), 9)
    check(IDS[:0], gradients(tag, (0, *row)), 9)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("family", families(100, 1000))
def test_families(family: str, threads: int) -> None:
    """All equal takes the longest: one sum after the other."""
    slotwise.set_num_threads(threads)
    count = 3_000 if family.startswith(("all", "two", "one", "Zipf", "powers")) else 100_003
    check(families(count, 2**40)[family], gradients("f32", (count, 3)), 2**40)


def test_hash_collisions() -> None:
    ids = np.tile(colliding(1000, 2**62), 3)
    check(ids, gradients("f32", (ids.size, 2)), 2**62)


@every_dtype
def test_places_of_gradients(tag: str) -> None:
    grads = gradients(tag, (2 * IDS.size, 15))
    for view in (grads[::2], grads[-1::-2], grads[: IDS.size, ::3], np.asfortranarray(grads[:10])):
        check(IDS, view, 9)


def test_a_plan_that_skips() -> None:
    """What it left out is in no sum."""
    ids = np.array([3, -1, 0, 3, 9])
    grads = gradients("f32", (ids.size, 3))
    plan = slotwise.RowPlan(ids, 9, bounds="skip")
    uniq, sums, inverse = slotwise.coalesce(plan, grads, 9, return_inverse=True)
    inside = [0, 2, 3]
    assert uniq.tolist() == [3, 0]
    assert_same(sums, summed(ids[inside], grads[inside])[1], "sums")
    assert inverse.tolist() == [0, -1, 1, 0, -1]


def test_without_inverse_and_bad_input() -> None:
    grads = gradients("f32", (IDS.size, 3))
    assert len(slotwise.coalesce(IDS, grads, 9)) == 2
    with pytest.raises(ValueError, match=r"coalesce: ids\[4\] = 8 is not in \[0, 8\)"):
        slotwise.coalesce(IDS, grads, 8)
    with pytest.raises(ValueError, match="coalesce: grads: expected"):
        slotwise.coalesce(IDS, grads[1:], 9)
    with pytest.raises(TypeError, match="coalesce: grads: expected"):
        slotwise.coalesce(IDS, grads.astype(np.int32), 9)
    with pytest.raises(TypeError, match="coalesce: ids: expected"):
        slotwise.coalesce(IDS.astype(np.float32), grads, 9)
