# SPDX-License-Identifier: Apache-2.0
"""More elements than a 32-bit integer counts."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
from support.ops import BY_NAME

BORDER = 2**31
SIZE = BORDER + 4099

GIB = 2**30


@pytest.mark.skipif(
    psutil.virtual_memory().available < 8 * GIB,
    reason="an array of more than 2^31 float16 takes 4.3 GB; less than 8 GB are available",
)
def test_more_than_2_to_the_31_elements() -> None:
    """Every element is updated, once; those around the border by its own value."""
    var = np.zeros(SIZE, np.float16)
    marked = [0, 1, BORDER - 2, BORDER - 1, BORDER, BORDER + 1, SIZE - 2, SIZE - 1]
    var[marked] = np.arange(1, 9)
    delta = np.broadcast_to(np.float16(1), var.shape)
    BY_NAME["ApplyGradientDescent"].default().call({"var": var, "delta": delta}, alpha=-0.5)
    assert (var[marked] == np.arange(1, 9) + 0.5).all()
    var[marked] = 0.5
    half = var[:4].view(np.uint64)[0]
    whole = SIZE // 4 * 4
    assert (var[:whole].view(np.uint64) == half).all()
    assert (var[whole:] == 0.5).all()
