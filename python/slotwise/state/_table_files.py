# SPDX-License-Identifier: Apache-2.0
"""Tables in files, larger than memory."""

from __future__ import annotations

import math
import mmap
import os
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from slotwise import _arguments
from slotwise._tables import Shape, filled
from slotwise.optimizers._kinds import PATH, OneOf
from slotwise.state._files import AnyPath

_ADVICE = {"random": mmap.MADV_RANDOM, "sequential": mmap.MADV_SEQUENTIAL}
_MODE, _ADVISED = OneOf(("r", "r+", "w+")), OneOf((*_ADVICE,))
_BLOCK = 8 << 20


def open_table(
    path: AnyPath,
    shape: Shape,
    dtype: DTypeLike = np.float32,
    mode: Literal["r", "r+", "w+"] = "r+",
    fill_value: Any = 0,
    advice: Literal["random", "sequential"] = "random",
) -> np.memmap[Any, np.dtype[Any]]:
    """A table in a file, as a memory map: the system keeps in memory what is in use.

    It is updated in place as any array. Its slots are as large: put them in files, too, by
    ``add_slot(table, "m", initializer)`` of an optimizer of the legacy API, before the first step;
    see docs/state.md.

    Args:
        path: a file of plain numbers, without a header.
        shape: an integer or a sequence of integers.
        dtype: any dtype of numbers.
        mode: ``"r+"`` to read and write what is there, ``"r"`` to read it, ``"w+"`` for a new one.
        fill_value: of a new one; zeros take no space on the disk until they are written to.
        advice: ``"random"`` for rows here and there: no reading ahead, which would fill memory with
            their neighbours; ``"sequential"`` for passes over it all.

    Raises:
        ValueError: another mode or advice; a file of another size.
        OSError: no file; no space.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> path = tempfile.mkdtemp() + "/emb"
        >>> emb = slotwise.open_table(path, (1000, 4), mode="w+")
        >>> grad = slotwise.IndexedSlices(np.ones((1, 4), np.float32), np.array([7]), emb.shape)
        >>> _ = slotwise.optimizers.legacy.SGD(0.5).apply_gradients([(grad, emb)])
        >>> emb.flush()
        >>> slotwise.open_table(path, (1000, 4), mode="r")[7].tolist()
        [-0.5, -0.5, -0.5, -0.5]
    """
    _MODE("open_table", "mode", mode)
    _ADVISED("open_table", "advice", advice)
    name = PATH("open_table", "path", path)
    kind = _arguments.dtype_of("open_table", dtype)
    sizes = _arguments.sizes_of("open_table", shape, kind.itemsize)
    value = _arguments.array("open_table", "fill_value", fill_value)
    expected = kind.itemsize * math.prod(sizes)
    if mode != "w+" and (size := os.path.getsize(name)) != expected:
        what = f"open_table: {name}: shape {sizes} of {kind}"
        raise ValueError(f"{what}: expected {expected} bytes, got {size}")
    table: np.memmap[Any, np.dtype[Any]] = np.memmap(name, kind, mode, shape=sizes)
    table._mmap.madvise(_ADVICE[advice])  # type: ignore[attr-defined]
    if mode == "w+" and (value.ndim or value != 0):
        flat = table.reshape(-1)
        step = _BLOCK // kind.itemsize
        for begin in range(0, flat.size, step):
            filled("open_table", "fill_value", flat[begin : begin + step], value)
    return table
