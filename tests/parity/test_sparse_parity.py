"""The sparse ops that TensorFlow has, live, with one intra-op thread (tensorflow_ops.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_ops  # sets the number of threads
from compare import assert_same, error
from ops import DTYPES
from reference import Array
from sparse import TF_CASES, TF_ROUNDS_OTHERWISE, SparseCase

assert tensorflow_ops
NO_BF16 = ("ApplyRMSProp", "ApplyCenteredRMSProp")  # only their dense ops have such kernels

COMPARED = [
    pytest.param(case, tag, id=f"{case}-{tag}")
    for case in TF_CASES
    for tag in DTYPES
    if tag in case.op.tf_dtypes and not (tag == "bf16" and case.op.name in NO_BF16)
]


def run(case: SparseCase, arrays: dict[str, Array], ids: Array) -> dict[str, Array]:
    dtype = arrays["var"].dtype
    variables = {name: tf.Variable(arrays[name]) for name in case.op.outputs}
    hyper = {
        name: tf.constant(np.int64(value) if name == "global_step" else dtype.type(value))
        for name, value in case.case.hyper.items()
    }
    function: Any = getattr(tf.raw_ops, f"Resource{case.name}")
    handles = {name: variable.handle for name, variable in variables.items()}
    rest = {"grad": tf.constant(arrays["grad"]), "indices": tf.constant(ids)}
    function(**handles, **hyper, **rest, **case.case.attrs)
    return {name: variable.numpy() for name, variable in variables.items()}


def is_exact(case: SparseCase, tag: str) -> bool:
    """Whether TensorFlow's matrix rows are the dense formula, each operation rounded."""
    if tag in ("f16", "bf16") or not case.case.exact:
        return False
    if case.op.name.removeprefix("Apply") in TF_ROUNDS_OTHERWISE:
        return False
    if case.op.name == "ApplyMomentum" and case.case.attrs["use_nesterov"]:
        return False
    return not (case.op.tf_approximates and tag == "f32")


@pytest.mark.parametrize(("case", "tag"), COMPARED)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_repeated_ids(case: SparseCase, tag: str, index: type) -> None:
    """In order, as TensorFlow does it: bit for bit, or with the errors of few roundings.

    Rows of one element TensorFlow computes in yet another order, in part in float64.
    """
    for seed, width in enumerate((1, 2, 7, 8, 9, 16, 33)):
        ids = np.random.default_rng(seed).integers(0, 6, 9).astype(index)
        arrays = case.draw(DTYPES[tag], 6, width, ids.size, seed)
        theirs = run(case, arrays, ids)
        largest = np.array(max(float(np.abs(x.astype(np.float64)).max()) for x in arrays.values()))
        repeats = int(np.bincount(ids).max())
        case.call(arrays, ids)
        limit = (16 if tag in ("f16", "bf16") else 8) * repeats
        for name in case.op.outputs:
            if is_exact(case, tag) and width > 1:
                assert_same(arrays[name], theirs[name], f"{name}, width {width}")
            distance = error(arrays[name], theirs[name], largest).max()
            assert distance <= limit, f"{name}, width {width}: {distance:g} ulp"
