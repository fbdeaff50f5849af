# SPDX-License-Identifier: Apache-2.0
"""slotwise.zeros, empty and full: what they take as a shape, and the memory they return."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slotwise


class Index:
    """An integer, as far as Python is concerned."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return f"Index({self.number})"


make = pytest.mark.parametrize("make", [slotwise.zeros, slotwise.empty, slotwise.full])


def made(make: Any, shape: Any) -> np.ndarray:
    return make(shape, 0) if make is slotwise.full else make(shape)


@make
@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (3, (3,)),
        (0, (0,)),
        (np.int64(3), (3,)),
        (np.uint8(3), (3,)),
        (np.array(3), (3,)),
        (Index(3), (3,)),
        ((), ()),
        ((2, 3), (2, 3)),
        ([2, 3], (2, 3)),
        ((np.int32(2), Index(3), 4), (2, 3, 4)),
        ([np.int64(2), 0], (2, 0)),
        (np.array([2, 3]), (2, 3)),
        (range(2, 4), (2, 3)),
    ],
    ids=repr,
)
def test_shapes(make: Any, shape: object, expected: tuple[int, ...]) -> None:
    array = made(make, shape)
    assert array.shape == expected
    assert array.dtype == np.float32
    assert not array.any()


@make
@pytest.mark.parametrize("shape", [None, 1.5, "3", np.float32(3), (2, 3.0), ["2"], (2, None)])
def test_sizes_that_are_no_integers(make: Any, shape: object) -> None:
    with pytest.raises(TypeError, match=rf"^{make.__name__}: shape: expected .+, got .+") as caught:
        made(make, shape)
    assert str(shape) in str(caught.value)


@make
@pytest.mark.parametrize("shape", [-1, np.int64(-1), (2, -1), [-2, 0]])
def test_negative_sizes(make: Any, shape: object) -> None:
    with pytest.raises(ValueError, match=rf"^{make.__name__}: shape: expected sizes >= 0, got"):
        made(make, shape)


@pytest.mark.parametrize("rows", [1, 100, 2**20])
def test_memory(rows: int) -> None:
    """Aligned to cache lines, writable, and zero; large arrays too."""
    array = slotwise.zeros((rows, 3))
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert not array.any()
    array[...] = 1
    assert (slotwise.full((rows, 3), 1) == array).all()
