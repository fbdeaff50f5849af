# SPDX-License-Identifier: Apache-2.0
"""What the real TensorFlow made of small inputs (golden/make_golden.py), against what we make."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import slotwise
from golden.contents import (
    CASES,
    PATH,
    REPEATED,
    ROWS,
    SCATTERS,
    UPDATES,
    WIDTHS,
    about,
    ids_of,
    unpack,
)
from slotwise import raw_ops
from support.cases import every_dtype
from support.compare import assert_same, error, is_nan
from support.ops import DTYPES, SPECIAL, Case
from support.reference import Array
from support.rows import TF_CASES, SparseCase
from support.tensorflow_limits import check, limit, magnitude, sparse_limit

both_ids = pytest.mark.parametrize("index", [np.int32, np.int64])


@cache
def golden() -> dict[str, Array]:
    with np.load(PATH) as file:
        return {name: file[name] for name in file.files}


@cache
def table(member: str, tag: str) -> dict[str, Array]:
    return unpack(golden(), member, DTYPES[tag])


def given_to(rows: dict[str, Array], case: object, names: tuple[str, ...]) -> dict[str, Array]:
    return {name: rows[f"{case}/given/{name}"].copy() for name in names}


COMPARED = [
    pytest.param(case, tag, id=f"{case}-{tag}")
    for case in CASES
    for tag in DTYPES
    if tag in case.op.tf_dtypes
]
SPARSE_COMPARED = [pytest.param(case, tag, id=f"{case}-{tag}") for case, tag in TF_CASES]


@pytest.mark.parametrize(("case", "tag"), COMPARED)
def test_as_tensorflow(case: Case, tag: str, target: str) -> None:
    rows = table(tag, tag)
    given = given_to(rows, case, case.op.arrays)
    largest = magnitude(given)
    case.call(given)
    for name in case.op.outputs:
        check(given[name], rows[f"{case}/becomes/{name}"], limit(case, tag), largest, name)


@pytest.mark.parametrize(("case", "tag"), SPARSE_COMPARED)
@both_ids
def test_sparse_as_tensorflow(case: SparseCase, tag: str, index: type, target: str) -> None:
    rows, ids = table(f"{tag}_tables", tag), ids_of(case).astype(index)
    for width in WIDTHS:
        given = given_to(rows, f"{case}/{width}", case.arrays)
        assert given["var"].shape == (ROWS, width)
        largest, most = magnitude(given), sparse_limit(case, tag, ids, width)
        case.call(given, ids)
        for name in case.op.outputs:
            theirs = rows[f"{case}/{width}/becomes/{name}"]
            check(given[name], theirs, most, largest, f"{name}, width {width}")


@pytest.mark.parametrize("op", SCATTERS)
@every_dtype
@both_ids
def test_scatter_as_tensorflow(op: str, tag: str, index: type, target: str) -> None:
    """Also in 16 bits: one operation, rounded once by both."""
    rows, ids = table(f"{tag}_tables", tag), np.array(REPEATED, index)
    for width in WIDTHS:
        for form in UPDATES:
            name = f"Scatter{op}/{width}/{form}"
            given = given_to(rows, name, ("ref", "updates"))
            getattr(raw_ops, f"Scatter{op}")(**given, indices=ids)
            assert_same(given["ref"], rows[f"{name}/becomes/ref"], name)


@every_dtype
@both_ids
def test_gather_as_tensorflow(tag: str, index: type, target: str) -> None:
    rows, ids = table(f"{tag}_tables", tag), np.array(REPEATED, index)
    for width in WIDTHS:
        got = slotwise.gather(rows[f"gather/{width}/given/table"], ids)
        assert_same(got, rows[f"gather/{width}/becomes/out"], width)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_special_values_as_tensorflow(case: Case, target: str) -> None:
    """But for what docs/deviations.md lists: NaN that TensorFlow makes out of finite numbers."""
    rows = table("special", "f32")
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


def test_contents_are_what_tensorflow_was_run_with() -> None:
    """After a change of the table in ops.py, or of contents.py, run make_golden.py again."""
    stored: dict[str, Any] = json.loads(str(golden()["about"]))
    del stored["tensorflow"]
    assert stored == json.loads(json.dumps(about()))
