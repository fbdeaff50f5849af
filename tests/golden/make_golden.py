# SPDX-License-Identifier: Apache-2.0
"""Writes tensorflow.npz: what the real TensorFlow makes of small inputs, for test_golden.py.

    python tests/golden/make_golden.py

Needs tensorflow-cpu, not slotwise. The same versions on the same processor write the same bytes
(of rsqrt, the processor's estimate decides the last bits).

Per dtype the file has the arrays of the dense ops (`f32`), and those of the sparse ops, the scatter
ops and gather (`f32_tables`); `special` has all combinations of NaN, infinities, zeros, 1 and 0.1
in float32; `about` says with what it was made. contents.py has the inputs and the form.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import tensorflow as tf
from golden.contents import (
    CASES,
    PATH,
    REPEATED,
    ROWS,
    SCATTERS,
    SIZE,
    UPDATES,
    WIDTHS,
    about,
    ids_of,
    pack,
)
from support import tensorflow_ops  # with one thread, or equal ids would race
from support.compare import assert_same
from support.ops import ANY, DTYPES, SPECIAL, draw
from support.reference import Array
from support.rows import TF_CASES, SparseCase

Arrays = dict[str, Array]


def named(case: object, given: Arrays, results: Arrays) -> Arrays:
    return {
        **{f"{case}/given/{name}": x for name, x in given.items()},
        **{f"{case}/becomes/{name}": x for name, x in results.items()},
    }


def dense(tag: str) -> Arrays:
    table: Arrays = {}
    for case in CASES:
        if tag in case.op.tf_dtypes:
            given = case.draw(DTYPES[tag], SIZE, zlib.crc32(f"{case}/{tag}".encode()))
            table |= named(case, given, tensorflow_ops.run(case, given))
    return table


def special() -> Arrays:
    """Here the inputs are the same for all, and not worth storing."""
    table: Arrays = {}
    for case in CASES:
        table |= named(case, {}, tensorflow_ops.run(case, case.grid(np.float32, SPECIAL)))
    return table


def with_both_ids(ids: Array, run: Callable[[Array], Arrays]) -> Arrays:
    """The results with 64-bit ids. Those with 32-bit ids are the same."""
    results, others = run(ids.astype(np.int64)), run(ids.astype(np.int32))
    for name, x in results.items():
        assert_same(others[name], x, name)
    return results


def sparse(case: SparseCase, given: Arrays) -> Arrays:
    return with_both_ids(ids_of(case), lambda ids: tensorflow_ops.run_sparse(case, given, ids))


def scatter(op: str, given: Arrays) -> Arrays:
    def run(ids: Array) -> Arrays:
        variable = tf.Variable(given["ref"])
        function: Any = getattr(tf.raw_ops, f"ResourceScatter{op}")
        function(resource=variable.handle, indices=ids, updates=tf.constant(given["updates"]))
        return {"ref": variable.numpy()}

    return with_both_ids(np.array(REPEATED), run)


def gather(given: Arrays) -> Arrays:
    def run(ids: Array) -> Arrays:
        return {"out": tf.gather(tf.Variable(given["table"]), ids).numpy()}

    return with_both_ids(np.array(REPEATED), run)


def tables(tag: str) -> Arrays:
    """Most inputs are the same for all ops: they compress well."""
    dtype = DTYPES[tag]
    table: Arrays = {}
    for width in WIDTHS:
        for case, its_tag in TF_CASES:
            if its_tag == tag:
                given = case.draw(dtype, ROWS, width, ids_of(case).size, seed=width)
                table |= named(f"{case}/{width}", given, sparse(case, given))
        rng = np.random.default_rng(width)
        ref = draw(rng, ANY, dtype, (ROWS, width))
        for form in UPDATES:
            shape = (len(REPEATED), width) if form == "rows" else ()
            given = {"ref": ref, "updates": np.asarray(draw(rng, ANY, dtype, shape))}
            for op in SCATTERS:
                table |= named(f"Scatter{op}/{width}/{form}", given, scatter(op, given))
        table |= named(f"gather/{width}", {"table": ref}, gather({"table": ref}))
    return table


def members() -> Arrays:
    out: Arrays = {}
    for tag in DTYPES:
        out |= pack(tag, dense(tag)) | pack(f"{tag}_tables", tables(tag))
    out |= pack("special", special())
    out["about"] = np.array(json.dumps({"tensorflow": tf.__version__, **about()}))
    return out


if __name__ == "__main__":
    np.savez_compressed(PATH, **members())
    print(PATH, PATH.stat().st_size, "bytes")
