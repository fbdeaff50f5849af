"""What the real TensorFlow made of small inputs (golden/make_golden.py), against what we make."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare import assert_same, error, is_nan
from ops import CASES, DTYPES, SPECIAL, Case
from reference import Array

# How far apart two right results may be, in ulps at the largest magnitude of an op's arrays.
LIMITS = {
    "f16": 16,  # TensorFlow rounds every intermediate to 16 bits, we only what is stored
    "bf16": 16,
    "rsqrt": 2,  # TensorFlow: the processor's estimate and one Newton step, up to 2 ulp
    "exp": 1,  # TensorFlow: up to 1.2 ulp
    "pow": 2,  # TensorFlow: up to 1.5 ulp, of numbers that cancel
}


@cache
def golden() -> dict[str, Array]:
    with np.load(Path(__file__).parent / "golden" / "tensorflow.npz") as file:
        return {name: file[name] for name in file.files}


@cache
def table(member: str, dtype: Any) -> dict[str, Array]:
    rows = golden()[member].view(dtype)
    return dict(zip(golden()[f"{member}_names"].tolist(), rows, strict=True))


def limit(case: Case, tag: str) -> float:
    """0 where both sides round each operation correctly, in the same order."""
    if tag in ("f16", "bf16"):
        return LIMITS[tag]
    if not case.exact:
        return LIMITS["pow"]
    if case.op.tf_approximates == "rsqrt" and tag == "f64":
        return 0  # 1 / sqrt(x) in TensorFlow, too
    return LIMITS[case.op.tf_approximates] if case.op.tf_approximates else 0


COMPARED = [
    pytest.param(case, tag, id=f"{case}-{tag}")
    for case in CASES
    for tag in DTYPES
    if tag in case.op.tf_dtypes
]


@pytest.mark.parametrize(("case", "tag"), COMPARED)
def test_as_tensorflow(case: Case, tag: str, target: str) -> None:
    rows = table(tag, DTYPES[tag])
    given = {name: rows[f"{case}/given/{name}"].copy() for name in case.op.arrays}
    largest = np.array(max(float(np.abs(x.astype(np.float64)).max()) for x in given.values()))
    case.call(given)
    for name in case.op.outputs:
        theirs = rows[f"{case}/becomes/{name}"]
        if limit(case, tag) == 0:
            assert_same(given[name], theirs, name)
        assert error(given[name], theirs, largest).max() <= limit(case, tag), name


@pytest.mark.parametrize("case", [case for case in CASES if case.op.tf_dtypes], ids=str)
def test_special_values_as_tensorflow(case: Case, target: str) -> None:
    """But for what docs/deviations.md lists: NaN that TensorFlow makes out of finite numbers."""
    rows = table("special", np.dtype(np.float32))
    ours = case.grid(np.float32, SPECIAL)
    reference = case.expected(ours)
    theirs = {name: rows[f"{case}/becomes/{name}"] for name in case.op.outputs}
    deviates = case.op.may_deviate(ours, theirs)
    case.call(ours)
    for name in case.op.outputs:
        a, b = ours[name], np.where(deviates, reference[name], theirs[name])
        if limit(case, "f32") == 0:
            assert_same(a, b, name)
        assert error(a, b).max() <= 64, name  # special values in the same places
        assert (is_nan(b) | (np.signbit(a) == np.signbit(b))).all(), name


def test_table_is_the_one_that_tensorflow_was_run_with() -> None:
    """After a change of the table in ops.py, run make_golden.py again."""
    about = json.loads(str(golden()["about"]))
    assert about["hyper"] == {str(case): dict(case.hyper) for case in CASES if case.op.tf_dtypes}
