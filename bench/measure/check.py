# SPDX-License-Identifier: Apache-2.0
"""Compares a peer's result with ours, before anything is timed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.results.records import Record
from bench.work.base import Work, chunks
from bench.work.contestant import State

# Allowed: a few roundings of the stored type, and a part of the change itself for the roundings
# inside the formula (16-bit peers round every operation, and Ftrl's powers cancel).
_STORED_ULP = 4.0
_OF_CHANGE = {"float64": 1e-9, "float32": 1e-4, "float16": 0.05, "bfloat16": 0.25}

# Distance of 1 to the next number, and the smallest normal number.
_EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
_SMALLEST = {"float64": 2.0**-1022, "float32": 2.0**-126, "bfloat16": 2.0**-126, "float16": 0.0}


def _differences(
    old: NDArray[np.float64], ours: NDArray[np.float64], theirs: NDArray[np.float64], eps: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    size = np.maximum(np.maximum(np.abs(old), np.abs(ours)), np.abs(theirs))
    ulp = np.exp2(np.floor(np.log2(np.maximum(size, 1e-30)))) * eps
    return np.abs(ours - theirs), ulp, np.abs(ours - old)


def compare(work: Work, ours: State, theirs: State) -> tuple[dict[str, float], str]:
    """Largest difference in ulp per array, and what is wrong (empty if nothing is)."""
    eps = _EPSILON[work.dtype.name]
    share = _OF_CHANGE[work.dtype.name]
    worst: dict[str, float] = {}
    wrong: list[str] = []
    for tensor, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        for name, array in other.items():
            left, right = mine[name].reshape(-1), array.reshape(-1)
            if left.shape != right.shape:
                wrong.append(f"{name}[{tensor}]: {right.size} elements, expected {left.size}")
                continue
            if left.dtype.kind == "i":
                if not np.array_equal(left, right):
                    wrong.append(f"{name}[{tensor}] differs")
                continue
            for part in chunks(left.size):
                a, b = left[part].astype(np.float64), right[part].astype(np.float64)
                old = work.before(name, part).astype(np.float64)
                difference, ulp, change = _differences(old, a, b, eps)
                worst[name] = max(worst.get(name, 0.0), float(np.max(difference / ulp, initial=0)))
                allowed = _STORED_ULP * ulp + share * (change + np.mean(change))
                if work.tolerance is not None:
                    allowed = work.tolerance * np.maximum.reduce([abs(old), abs(a), abs(b)])
                bad = ~(difference <= allowed)
                if bad.any():
                    i = int(np.argmax(bad))
                    wrong.append(
                        f"{name}[{tensor}]: element {part.start + i} is {b[i]:.9g}, ours {a[i]:.9g}"
                    )
                    break
    return worst, "; ".join(wrong[:3])


def agrees(work: Work, ours: State, theirs: State, record: Record) -> bool:
    """Whether results agree; the record keeps how far they are apart, and what is wrong."""
    record.check, wrong = compare(work, ours, theirs)
    if wrong:
        record.status, record.note = "wrong", wrong
    return not wrong


def abnormal(state: State, dtype: np.dtype[Any]) -> str:
    """What would have falsified the timing: subnormal, infinite or NaN values, if there are any."""
    tiny = _SMALLEST[dtype.name]  # float16's subnormals are normal in the compute type
    for arrays in state:
        for name, array in arrays.items():
            flat = array.reshape(-1)
            for part in chunks(min(flat.size, 1 << 18)):
                values = np.abs(flat[part].astype(np.float64))
                if not np.isfinite(values).all():
                    return f"{name} is no longer finite after the timed calls"
                if ((values > 0) & (values < tiny)).any():
                    return f"{name} has subnormal values after the timed calls"
    return ""
