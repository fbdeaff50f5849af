# SPDX-License-Identifier: Apache-2.0
"""Runs an op of the table through TensorFlow. Only for make_golden.py and the parity tests."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf
from support.ops import Case
from support.reference import Array
from support.rows import SparseCase

# The same value gets different bits from TensorFlow's rsqrt by its place in a shard.
tf.config.threading.set_intra_op_parallelism_threads(1)


def run(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """The arrays that the op writes, after tf.raw_ops.Resource<Op>; `arrays` stay as they are."""
    op = case.op
    dtype = arrays["var"].dtype
    variables = {name: tf.Variable(arrays[name]) for name in op.outputs}
    hyper = {
        name: tf.constant(np.int64(value) if name == "global_step" else dtype.type(value))
        for name, value in case.hyper.items()
    }
    gradient = {op.gradient: tf.constant(arrays[op.gradient])}
    function: Any = getattr(tf.raw_ops, f"Resource{op.name}")
    handles = {name: variable.handle for name, variable in variables.items()}
    function(**handles, **hyper, **gradient, **case.attrs)
    return {name: variable.numpy() for name, variable in variables.items()}


def run_sparse(case: SparseCase, arrays: dict[str, Array], ids: Array) -> dict[str, Array]:
    """The same of a sparse op."""
    op = replace(case.op, name=case.name, gradient="grad")
    attrs: dict[str, Any] = {**case.case.attrs, "indices": ids}
    return run(replace(case.case, op=op, attrs=attrs), arrays)
