# SPDX-License-Identifier: Apache-2.0
"""One number for the bits of each op: run before and after a change that may alter none.

PYTHONPATH=tests python tests/digest.py >before.txt
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import slotwise
from support import plans
from support.compare import bits
from support.ops import CASES, DTYPES
from support.reference import Array
from support.rows import MODES, SPARSE_CASES

# Shorter and longer than a vector and a block; one that threads share.
DENSE_SHAPES: list[Any] = [0, 1, 3, 7, 16, 33, 64, 100, 511, 513, 1000, (37, 29), 70_000]
WIDTHS = (1, 2, 5, 16, 33, 64, 100)
SCOPES = ("rows", "slots", "whole")


def of(arrays: Mapping[str, Array]) -> bytes:
    return b"".join(np.ascontiguousarray(bits(x)).tobytes() for x in arrays.values())


def dense() -> Iterator[tuple[str, bytes]]:
    for case in CASES:
        for tag, dtype in DTYPES.items():
            for seed, shape in enumerate(DENSE_SHAPES):
                arrays = case.draw(dtype, shape, seed)
                case.call(arrays)
                yield f"{case} {tag}", of(arrays)


def drawing_for(name: str) -> np.random.Generator:
    """Draw by the name, so that an op more changes no other's digest."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def sparse() -> Iterator[tuple[str, bytes]]:
    for case in SPARSE_CASES:
        rng = drawing_for(str(case))
        for tag, dtype in DTYPES.items():
            for width in WIDTHS:
                ids = rng.integers(0, 50, 90)
                for mode in MODES:
                    arrays = case.draw(dtype, 50, width, ids.size, seed=width)
                    case.call(arrays, ids, duplicates=mode)
                    yield f"{case} {mode} {tag}", of(arrays)


def steps() -> Iterator[tuple[str, bytes]]:
    """Plans: dense and sparse gradients, every scope, clipped, decaying, averaged."""
    for op, tag in plans.OPS_AND_DTYPES:
        rng = drawing_for(f"{op.name} {tag}")
        for scope in SCOPES:
            tables = [op.default().draw(DTYPES[tag], (40, width), width) for width in WIDTHS]
            averages = [table["var"].copy() for table in tables]
            plan = plans.plan(op, tables, averages, [True] * len(tables))
            pairs: list[Any] = []
            for i, table in enumerate(tables):
                ids = rng.integers(0, 40, 23)
                grad = table[op.gradient]
                slices = slotwise.IndexedSlices(grad[: ids.size].copy(), ids, grad.shape)
                pairs.append((slices if i % 2 else grad, table["var"]))
            around = {"decay": ((0.1, 0.01), (0.1, 0.01)), "average": (0.9, False)}
            for clips in ((None, None, None), (1.0, 2.0, 3.0)):
                try:
                    plans.apply(op, plan, pairs, scope, clips, **around)
                except ValueError as error:
                    yield f"{op.name} {scope} {tag}", str(error).encode()
                    continue
                for table, average in zip(tables, averages, strict=True):
                    yield f"{op.name} {scope} {tag}", of({**table, "average": average})


def main() -> None:
    for target in slotwise.targets():
        slotwise.set_target(target)
        found: dict[str, Any] = {}
        for kind in (dense, sparse, steps):
            for name, data in kind():
                found.setdefault(f"{kind.__name__} {name}", hashlib.sha256()).update(data)
        for name, digest in found.items():
            print(target, name, digest.hexdigest()[:16])


if __name__ == "__main__":
    main()
