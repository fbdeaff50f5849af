# SPDX-License-Identifier: Apache-2.0
"""Ids that are hard on whatever groups them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from support.reference import Array

GOLDEN = 0x9E3779B97F4A7C15
INVERSE = pow(GOLDEN, -1, 2**64)


def colliding(count: int, num_rows: int, shift: int = 0) -> Array:
    """Distinct rows whose product with GOLDEN, modulo 2^64, is small, or a multiple of 2^shift."""
    found: list[int] = []
    k = 0
    while len(found) < count:
        row = INVERSE * (k << shift) % 2**64
        if row < num_rows:
            found.append(row)
        k += 1
    return np.array(found, np.int64)


@lru_cache(maxsize=8)
def families(count: int, num_rows: int) -> dict[str, Array]:
    """The ids by name; all in [0, num_rows), and int64."""
    rng = np.random.default_rng(1)
    spread = num_rows // count or 1
    distinct = np.arange(count) * spread % num_rows
    half = rng.integers(0, num_rows, count)
    half[rng.random(count) < 0.5] = num_rows // 2
    return {
        "all the same": np.full(count, num_rows - 1),
        "all the first": np.zeros(count, np.int64),
        "sorted": np.sort(rng.integers(0, num_rows, count)),
        "in steps": distinct,
        "reversed": distinct[::-1].copy(),
        "shuffled": rng.permutation(distinct),
        "every one twice": np.repeat(distinct[: count // 2 + 1], 2)[:count],
        "up and down": np.concatenate([distinct[: count // 2], distinct[count // 2 :: -1]])[:count],
        "one row owns half": half,
        "two rows in turn": np.where(np.arange(count) % 2, 0, num_rows - 1),
        "Zipf": rng.zipf(1.2, count) % num_rows,
        "powers of two": 2 ** rng.integers(0, num_rows.bit_length() - 1, count),
        "multiples of 4096": rng.integers(0, -(-num_rows // 4096), count) * 4096,
    }
