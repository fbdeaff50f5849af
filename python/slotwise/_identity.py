# SPDX-License-Identifier: Apache-2.0
"""What an array is known by: the memory that it is of, whichever object names it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Memory: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...] | None, np.dtype[Any]]


def memory_of(array: NDArray[Any]) -> Memory:
    """The address, shape, strides (None for C order) and dtype of an array.

    They tell arrays apart as long as both are alive: memory that was freed is used again.
    """
    strides = None if array.flags.c_contiguous else array.strides
    return array.ctypes.data, array.shape, strides, array.dtype
