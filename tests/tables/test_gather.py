# SPDX-License-Identifier: Apache-2.0
"""slotwise.gather and gather_pooled, against NumPy's indexing and sums in order."""

from __future__ import annotations

import numpy as np
import pytest
import slotwise
from support.cases import every_dtype, every_index, in_rows
from support.compare import assert_same
from support.ops import DTYPES
from support.reference import Array, Vec, compute_dtype

every_mode = in_rows(mode=["sum", "mean", "sqrtn"])
ROWS = 9
IDS = np.array([3, 0, 7, 3, 8, 3, 0, 5, 3, 8])
OFFSETS = np.array([0, 3, 3, 4, 9])  # bags of 3, 0, 1, 5 and 1


def table(tag: str, shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(1).standard_normal(shape).astype(DTYPES[tag])


@every_dtype
@every_index
def test_gather_every_width(tag: str, index: type, target: str) -> None:
    for width in (*range(1, 34), 64, 100, 128, 256):
        x = table(tag, (ROWS, width))
        got = slotwise.gather(x, IDS.astype(index))
        assert got.tobytes() == x[IDS].tobytes(), width
        out = np.zeros_like(got)
        assert slotwise.gather(x, IDS, out=out) is out
        assert out.tobytes() == x[IDS].tobytes(), width


@every_dtype
@in_rows(row=[(), (1,), (2, 3), (0,)])
def test_gather_shapes(tag: str, row: tuple[int, ...]) -> None:
    x = table(tag, (ROWS, *row))
    for ids in (IDS, IDS[:0]):
        assert_same(slotwise.gather(x, ids), x[ids])


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_gather_threads(threads: int) -> None:
    slotwise.set_num_threads(threads)
    x, ids = table("f32", (5000, 7)), np.random.default_rng(2).integers(0, 5000, 100_003)
    assert_same(slotwise.gather(x, ids), x[ids])


def test_gather_returns_memory_of_its_own() -> None:
    """Large results take memory that earlier ones gave back: never that of one that is alive."""
    x = slotwise.full((64, 1024), 1.0)
    ids = np.arange(64)
    kept = [slotwise.gather(x * i, ids) for i in range(8)]
    del kept[::2]
    kept += [slotwise.gather(x * i, ids) for i in range(8, 12)]
    assert [int(rows[0, 0]) for rows in kept] == [1, 3, 5, 7, 8, 9, 10, 11]
    assert all((rows == rows[0, 0]).all() for rows in kept)


def test_gather_copies_bits() -> None:
    x = np.arange(1, 13, dtype=np.uint32).view(np.float32).reshape(4, 3)  # subnormals
    assert slotwise.gather(x, np.array([2, 0])).tobytes() == x[[2, 0]].tobytes()


def test_gather_bad_input() -> None:
    x, ids = table("f32", (ROWS, 3)), IDS
    with pytest.raises(ValueError, match=r"gather: ids\[4\] = 8 is not in \[0, 8\)"):
        slotwise.gather(x[:8], ids)
    with pytest.raises(TypeError, match="gather: ids: expected"):
        slotwise.gather(x, ids.astype(np.float32))
    out = np.zeros((IDS.size, 3), np.float32)
    for bad in (out[1:], out[:, :2], out[::-1], out.T):
        with pytest.raises(ValueError, match="gather: out: expected"):
            slotwise.gather(x, ids, out=bad)
    with pytest.raises(TypeError, match="gather: out: expected"):
        slotwise.gather(x, ids, out=out.astype(np.float64))
    with pytest.raises(ValueError, match="gather: out: expected"):
        slotwise.gather(x, ids[:4], out=x[:4])
    both = np.zeros(10, np.int64)  # rows written to out would be taken for ids
    with pytest.raises(ValueError, match=r"gather: out: expected .* overlaps ids"):
        slotwise.gather(np.full(100, 7000), both[:-1], out=both[1:])


def pooled(x: Array, ids: Array, offsets: Array, weights: Array | None, mode: str) -> Array:
    """Sums in order in the compute type, rounded once; a bag of nothing is 0."""
    work = compute_dtype(x.dtype)
    out = np.zeros((offsets.size, *x.shape[1:]), x.dtype)
    for bag, (start, stop) in enumerate(zip(offsets, [*offsets[1:], ids.size], strict=True)):
        total, scale = Vec(np.zeros(x.shape[1:], work)), Vec(np.zeros((), work))
        for i in range(start, stop):
            row = Vec(x[ids[i]].astype(work))
            weight = Vec(work.type(1 if weights is None else weights[i]))
            total = total + (row if weights is None else row * weight)
            scale = scale + (weight * weight if mode == "sqrtn" else weight)
        if mode != "sum" and stop > start:
            total = total / (np.sqrt(scale) if mode == "sqrtn" else scale)
        out[bag] = total.data.astype(x.dtype)
    return out


@every_dtype
@every_mode
@in_rows(weighted=[False, True])
def test_pooled(tag: str, mode: str, weighted: bool, target: str) -> None:
    weights = np.linspace(0.3, 2, IDS.size).astype(DTYPES[tag]) if weighted else None
    for width in (*range(1, 34), 64, 100):
        x = table(tag, (ROWS, width))
        got = slotwise.gather_pooled(x, IDS, OFFSETS, weights=weights, mode=mode)
        assert_same(got, pooled(x, IDS, OFFSETS, weights, mode), width)


def test_pooled_bad_input() -> None:
    x = table("f32", (ROWS, 3))
    for offsets in (OFFSETS[::-1].copy(), OFFSETS - 1, OFFSETS + 20):
        with pytest.raises(ValueError, match="gather_pooled: offsets"):
            slotwise.gather_pooled(x, IDS, offsets)
    with pytest.raises(ValueError, match="gather_pooled: weights"):
        slotwise.gather_pooled(x, IDS, OFFSETS, weights=np.ones(3, np.float32))
    with pytest.raises(ValueError, match="gather_pooled: mode"):
        slotwise.gather_pooled(x, IDS, OFFSETS, mode="max")
    with pytest.raises(ValueError, match=r"gather_pooled: ids\[4\] = 8 is not in \[0, 8\)"):
        slotwise.gather_pooled(x[:8], IDS, OFFSETS)
