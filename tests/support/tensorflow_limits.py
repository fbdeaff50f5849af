# SPDX-License-Identifier: Apache-2.0
"""How far our results may be from TensorFlow's, and whether they are."""

from __future__ import annotations

import numpy as np
from support.compare import assert_same, error
from support.ops import Case
from support.reference import Array
from support.rows import TF_ROUNDS_OTHERWISE, SparseCase

# How far apart two right results may be, in ulps at the largest magnitude of an op's arrays.
LIMITS = {
    "f16": 16,  # TensorFlow rounds every intermediate to 16 bits, we only what is stored
    "bf16": 16,
    "rsqrt": 2,  # TensorFlow: the processor's estimate and one Newton step, up to 2 ulp
    "exp": 1,  # TensorFlow: up to 1.2 ulp
    "pow": 2,  # TensorFlow: up to 1.5 ulp, of numbers that cancel
    "otherwise": 1,  # TensorFlow's sparse kernel rounds in another order than its dense one
}


def limit(case: Case, tag: str) -> float:
    """0 where both sides round each operation correctly, in the same order."""
    if tag in ("f16", "bf16"):
        return LIMITS[tag]
    if not case.exact:
        return LIMITS["pow"]
    if case.op.tf_approximates == "rsqrt" and tag == "f64":
        return 0  # 1 / sqrt(x) in TensorFlow, too
    return LIMITS[case.op.tf_approximates] if case.op.tf_approximates else 0


def sparse_limit(case: SparseCase, tag: str, ids: Array, width: int) -> float:
    """That of the dense op, for each time that a row is updated."""
    if tag in ("f16", "bf16"):
        return LIMITS[tag]
    otherwise = (
        case.rule in TF_ROUNDS_OTHERWISE
        or (case.rule == "Momentum" and case.case.attrs["use_nesterov"])
        or (width == 1 and case.rule.startswith(("Proximal", "Ftrl")))
    )
    times = int(np.bincount(ids).max())
    return times * max(limit(case.case, tag), LIMITS["otherwise"] if otherwise else 0)


def magnitude(arrays: dict[str, Array]) -> Array:
    return np.array(max(float(np.abs(x.astype(np.float64)).max()) for x in arrays.values()))


def check(got: Array, theirs: Array, most: float, largest: Array, what: str) -> None:
    if most == 0:
        assert_same(got, theirs, what)
    distance = error(got, theirs, largest).max()
    assert distance <= most, f"{what}: {distance:g} ulp"
