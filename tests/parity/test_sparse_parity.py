# SPDX-License-Identifier: Apache-2.0
"""The sparse ops that TensorFlow has, live, with one intra-op thread (tensorflow_ops.py)."""

from __future__ import annotations

import numpy as np
import pytest
from support import tensorflow_ops  # sets the number of threads
from support.ops import DTYPES
from support.rows import TF_CASES, SparseCase
from support.tensorflow_limits import check, magnitude, sparse_limit

COMPARED = [pytest.param(case, tag, id=f"{case}-{tag}") for case, tag in TF_CASES]


@pytest.mark.parametrize(("case", "tag"), COMPARED)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_repeated_ids(case: SparseCase, tag: str, index: type) -> None:
    """In order, as TensorFlow does it: bit for bit, or with the errors of few roundings."""
    for seed, width in enumerate((1, 2, 7, 8, 9, 16, 33)):
        ids = np.random.default_rng(seed).integers(0, 6, 9).astype(index)
        arrays = case.draw(DTYPES[tag], 6, width, ids.size, seed)
        theirs = tensorflow_ops.run_sparse(case, arrays, ids)
        largest, most = magnitude(arrays), sparse_limit(case, tag, ids, width)
        case.call(arrays, ids)
        for name in case.op.outputs:
            check(arrays[name], theirs[name], most, largest, f"{name}, width {width}")
