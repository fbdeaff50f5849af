# SPDX-License-Identifier: Apache-2.0
"""slotwise.gather, against NumPy's indexing."""

from __future__ import annotations

import numpy as np
import pytest
import slotwise
from support.cases import every_dtype, every_index, in_rows
from support.compare import assert_same
from support.ops import DTYPES
from support.reference import Array

every_mode = in_rows(mode=["sum", "mean", "sqrtn"])
ROWS = 9
IDS = np.array([3, 0, 7, 3, 8, 3, 0, 5, 3, 8])


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
