# SPDX-License-Identifier: Apache-2.0
"""Every sparse op against the reference: dtypes, targets, widths, meanings of repeated ids."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import raw_ops
from support.cases import (
    every_dtype,
    every_index,
    every_mode,
    every_sparse_case,
    every_sparse_op,
    in_rows,
)
from support.compare import assert_same, bits
from support.memory import Guarded, copies, misaligned, read_only
from support.ops import ALL, DTYPES
from support.reference import Array, compute_dtype
from support.rows import (
    EXACT_CASES,
    MODES,
    SEQUENTIAL,
    SPARSE_BY_NAME,
    SPARSE_CASES,
    SPARSE_OPS,
    SUM,
    SparseCase,
    summed,
)

WIDTHS = (*range(1, 34), 64, 100, 128, 256)
ROWS = 9
IDS = np.array([3, 0, 7, 3, 8, 3, 0, 5, 3, 8])  # rows 1, 2, 4 and 6 never; 3 four times


def check(case: SparseCase, got: dict[str, Array], expected: dict[str, Array], what: Any) -> None:
    for name in case.op.outputs:
        assert_same(got[name], expected[name], f"{name}, {what}")


def narrow(arrays: dict[str, Array], width: int) -> dict[str, Array]:
    """The first columns of what has columns."""
    return {
        name: np.ascontiguousarray(x[:, :width]) if x.ndim == 2 else x for name, x in arrays.items()
    }


@cache
def drawn(case: SparseCase, tag: str) -> dict[str, Array]:
    return case.draw(DTYPES[tag], ROWS, max(WIDTHS), IDS.size, seed=1)


def on_best_target(case: SparseCase, tag: str, mode: str) -> dict[str, Array]:
    """One call. With pow (see test_pow.py) only the error of a result is known beforehand."""
    target = slotwise.active_target()
    slotwise.set_target(None)
    got = copies(drawn(case, tag))
    case.call(got, IDS, duplicates=mode)
    slotwise.set_target(target)
    return got


@cache
def evaluated(case: SparseCase, tag: str, mode: str, width: int) -> dict[str, Array]:
    if not case.case.exact:
        return on_best_target(case, tag, mode)
    return case.expected(narrow(drawn(case, tag), width), IDS, mode)


def expected(case: SparseCase, tag: str, mode: str, width: int) -> dict[str, Array]:
    if case.row_wise:  # depends on the whole row
        return evaluated(case, tag, mode, width)
    return narrow(evaluated(case, tag, mode, max(WIDTHS)), width)


@every_sparse_case
@every_dtype
@every_mode
def test_every_width(case: SparseCase, tag: str, mode: str, target: str) -> None:
    """Bit for bit what the reference says; other rows, and what is around the table, untouched."""
    dtype = DTYPES[tag]
    guarded = {name: Guarded(dtype, ROWS * max(WIDTHS)) for name in case.op.outputs}
    for i, width in enumerate(WIDTHS):
        arrays = narrow(drawn(case, tag), width)
        want = expected(case, tag, mode, width)
        placed = {
            name: memory.place(arrays[name].reshape(-1), (i + 3 * k) % 17).reshape(want[name].shape)
            for k, (name, memory) in enumerate(guarded.items())
        }
        grad = arrays["grad"].copy()
        ids = IDS.astype(np.int32 if i % 2 else np.int64)
        case.call({**placed, "grad": grad}, ids, duplicates=mode)
        for name, memory in guarded.items():
            if not memory.holds(want[name].reshape(-1)):
                assert_same(placed[name], want[name], f"{name}, width {width}")
                pytest.fail(f"{name}: wrote outside of a table of width {width}")
        assert (bits(grad) == bits(arrays["grad"])).all()


@pytest.mark.parametrize("case", [c for c in SPARSE_CASES if not c.row_wise], ids=str)
@every_dtype
@in_rows(width=[1, 19])
def test_is_the_dense_op_on_each_row(case: SparseCase, tag: str, width: int, target: str) -> None:
    arrays = narrow(drawn(case, tag), width)
    ours, dense = copies(arrays), copies(arrays)
    case.call(ours, IDS)
    for i, row in enumerate(IDS):
        rows = {name: dense[name][row] for name in case.op.outputs}
        case.case.call({**rows, case.op.gradient: arrays["grad"][i]})
    check(case, ours, dense, "sequential")

    # The sum of 16-bit gradients has more bits than the dense op takes.
    if tag in ("f32", "f64"):
        ours, dense = copies(arrays), copies(arrays)
        case.call(ours, IDS, duplicates=SUM)
        for row, grad in zip(*summed(IDS, arrays["grad"]), strict=True):
            rows = {name: dense[name][row] for name in case.op.outputs}
            case.case.call({**rows, case.op.gradient: grad})
        check(case, ours, dense, "sum")


@every_sparse_case
@every_dtype
def test_distinct_ids_have_one_meaning(case: SparseCase, tag: str) -> None:
    arrays = drawn(case, tag)
    ids = np.array([8, 0, 4, 2, 6, 7, 1])
    arrays = {**arrays, "grad": arrays["grad"][: ids.size]}
    results = []
    for mode in (*MODES, "error"):
        got = copies(arrays)
        case.call(got, ids, duplicates=mode)
        results.append(got)
    for other in results[1:]:
        check(case, other, results[0], "distinct")


@every_sparse_op
@every_dtype
@every_mode
@pytest.mark.usefixtures("threads")
def test_threads_do_not_change_bits(case: SparseCase, tag: str, mode: str) -> None:
    """More ids than one thread groups, and more rows than one thread updates."""
    rows, width, count = 30_000, 2, 100_003
    ids = np.random.default_rng(5).integers(0, rows, count)
    arrays = case.draw(DTYPES[tag], rows, width, count, seed=2)
    want = case.expected(arrays, ids, mode)
    for threads in (1, 2, 3, 8):
        slotwise.set_num_threads(threads)
        got = copies(arrays)
        case.call(got, ids, duplicates=mode)
        check(case, got, want, f"{threads} threads")


def skewed(count: int, rows: int) -> Array:
    """One row owns half of the ids, and a few most of the others."""
    rng = np.random.default_rng(6)
    ids = np.minimum(rng.zipf(1.2, count) - 1, rows - 1) * 2654435761 % rows
    ids[rng.random(count) < 0.5] = rows // 3
    return ids


@every_sparse_op
@every_mode
@pytest.mark.usefixtures("threads")
def test_threads_with_skewed_ids(case: SparseCase, mode: str) -> None:
    rows, width, count = 5_000, 9, 120_000
    ids = skewed(count, rows)
    arrays = case.draw(np.float32, rows, width, count, seed=3)
    results = []
    for threads in (1, 2, 3, 8):
        slotwise.set_num_threads(threads)
        got = copies(arrays)
        case.call(got, ids, duplicates=mode)
        results.append(got)
        check(case, got, results[0], f"{threads} threads")
    untouched = np.setdiff1d(np.arange(rows), ids)
    assert untouched.size
    for name in case.op.outputs:
        assert_same(results[0][name][untouched], arrays[name][untouched], name)


@every_dtype
@every_mode
def test_one_row_many_times(tag: str, mode: str) -> None:
    """2,000 times the same id: the order of sums is the order of appearance."""
    case = SPARSE_BY_NAME["SparseApplyAdagradV2"]
    arrays = case.draw(DTYPES[tag], 3, 48, 2_000, seed=4)
    ids = np.ones(2_000, np.int64)
    want = case.expected(arrays, ids, mode)
    for width in (1, 7, 48):
        got = narrow(arrays, width)
        case.call(got, ids, duplicates=mode)
        check(case, got, narrow(want, width), width)


@pytest.mark.parametrize("tag", ["f16", "bf16"])
def test_a_sum_is_not_rounded_in_between(tag: str) -> None:
    """1 + 64 * 2^-12 is 1 when every addition is rounded to 16 bits."""
    dtype = DTYPES[tag]
    grad = np.full((65, 1), 2**-12, dtype)
    grad[0] = 1
    ids = np.zeros(65, np.int64)
    for mode, want in ((SUM, 1 + 2**-6), (SEQUENTIAL, 1)):
        var = np.zeros((1, 1), dtype)
        raw_ops.SparseApplyGradientDescent(
            var=var, alpha=-1.0, grad=grad, indices=ids, duplicates=mode
        )
        assert var[0, 0] == want, mode


@every_mode
def test_a_sum_is_taken_in_order_of_appearance(mode: str, target: str) -> None:
    """In any other order, or pairwise, the sum is another number."""
    grad = np.array([1e8, 1, 1, -1e8, 1, 3], np.float32)[:, None] * np.ones(21, np.float32)
    ids = np.array([2, 2, 0, 2, 2, 1])
    var = np.zeros((3, 21), np.float32)
    raw_ops.SparseApplyGradientDescent(var=var, alpha=-1.0, grad=grad, indices=ids, duplicates=mode)
    assert (var == np.array([1, 3, 1])[:, None]).all()


@every_sparse_op
@every_dtype
@every_mode
@in_rows(row=[(), (1,), (3, 5), (2, 1, 4)])
def test_shapes_of_rows(case: SparseCase, tag: str, mode: str, row: tuple[int, ...]) -> None:
    arrays = case.draw(DTYPES[tag], ROWS, row, IDS.size, seed=7)
    want = case.expected(arrays, IDS, mode)
    case.call(arrays, IDS, duplicates=mode)
    check(case, arrays, want, row)


@every_sparse_op
@every_dtype
@every_index
@in_rows(shape=[(5, 3), (0, 3), (0,), (5, 0)])
def test_nothing_to_do(case: SparseCase, tag: str, index: type, shape: tuple[int, ...]) -> None:
    """No ids, also for a table without rows; rows without elements, which have no mean either."""
    ids = np.arange(3 if shape == (5, 0) else 0, dtype=index)
    arrays = case.draw(DTYPES[tag], shape[0], shape[1:], ids.size, seed=8)
    before = copies(arrays)
    for changed in ({}, {"duplicates": SUM}, {"duplicates": "error"}):
        assert case.call(arrays, ids, **changed) is arrays["var"]
    assert case.call(arrays, ids, bounds="skip") == 0
    check(case, arrays, before, shape)


@every_sparse_op
@every_mode
@every_index
def test_skip(case: SparseCase, mode: str, index: type) -> None:
    """Ids out of range are left out and counted; what they would have added is nowhere."""
    bad = np.array([-1, 3, ROWS, 0, np.iinfo(index).max, 3, np.iinfo(index).min, 8], index)
    inside = np.array([1, 3, 5, 7])
    arrays = case.draw(np.float32, ROWS, 11, bad.size, seed=9)
    want = case.expected({**arrays, "grad": arrays["grad"][inside]}, bad[inside], mode)
    skipped = case.call(arrays, bad, duplicates=mode, bounds="skip")
    assert type(skipped) is int
    assert skipped == 4
    check(case, arrays, want, "skip")
    arrays["grad"] = arrays["grad"][inside]
    assert case.call(arrays, bad[inside], duplicates=mode, bounds="skip") == 0


@every_sparse_op
def test_skip_all(case: SparseCase) -> None:
    arrays = case.draw(np.float32, ROWS, 3, 4, seed=9)
    before = copies(arrays)
    assert case.call(arrays, np.full(4, -1), bounds="skip", duplicates="error") == 4
    check(case, arrays, before, "nothing is left")


def unlike(grad: Array, how: str) -> Array:
    """The same numbers, elsewhere in memory."""
    if how == "read-only":
        return read_only(grad)
    if how == "broadcast":
        return np.broadcast_to(grad[:1], grad.shape)
    if how == "Fortran order":
        return np.asfortranarray(grad)
    if how == "misaligned":
        return misaligned(grad)
    wide = np.zeros((2 * grad.shape[0] + 1, 3 * grad.shape[1] + 2), grad.dtype)
    view = {
        "every second row": wide[1::2, 1 : 1 + grad.shape[1]],
        "reversed rows": wide[::-2, 1 : 1 + grad.shape[1]][: grad.shape[0]],
        "every third column": wide[: grad.shape[0], 1 : 1 + 3 * grad.shape[1] : 3],
        "reversed columns": wide[: grad.shape[0], grad.shape[1] : 0 : -1],
        "both": wide[-1:0:-2, -1:1:-3],
    }[how]
    view[...] = grad
    return view


@every_sparse_op
@every_dtype
@in_rows(how=["read-only", "broadcast", "Fortran order", "misaligned", "every second row",
              "reversed rows", "every third column", "reversed columns", "both"])  # fmt: skip
def test_places_of_the_gradient(case: SparseCase, tag: str, how: str) -> None:
    arrays = narrow(drawn(case, tag), 13)
    arrays["grad"] = unlike(arrays["grad"], how)
    assert arrays["grad"].shape == (IDS.size, 13)
    for mode in MODES:
        want = case.expected(arrays, IDS, mode)
        got = {name: arrays[name].copy() for name in case.op.outputs}
        case.call({**got, "grad": arrays["grad"]}, IDS, duplicates=mode)
        check(case, got, want, mode)


@pytest.mark.parametrize("index", [np.int32, np.int64, np.longlong, np.intc])
def test_places_of_the_ids(index: Any) -> None:
    case = SPARSE_BY_NAME["SparseApplyMomentum"]
    arrays = case.draw(np.float32, ROWS, 5, IDS.size, seed=11)
    want = case.expected(arrays, IDS)
    plain = IDS.astype(index)
    wide = np.repeat(plain, 2)
    reverse = np.ascontiguousarray(plain[::-1])
    for ids in (
        *(plain, wide[::2], read_only(plain), misaligned(plain), reverse[::-1]),
        memoryview(plain),
    ):
        got = copies(arrays)
        case.call(got, ids)
        check(case, got, want, index)


@every_mode
@pytest.mark.parametrize("strided", [False, True])
def test_ids_in_the_memory_of_the_gradient(mode: str, strided: bool) -> None:
    """Both are only read."""
    count = 8
    case = SPARSE_BY_NAME["SparseApplyAdagradV2"]
    grad = case.draw(np.float32, ROWS, count, count, seed=12)["grad"]
    ids = grad.view(np.int32)[:, 0] if strided else grad.view(np.int32)[0]
    ids[...] = IDS[:count]
    arrays = {**case.draw(np.float32, ROWS, count, count, seed=13), "grad": grad}
    want = case.expected(arrays, ids.copy(), mode)
    case.call(arrays, ids, duplicates=mode)
    check(case, arrays, want, mode)
    assert (ids == IDS[:count]).all()


@every_sparse_op
@every_dtype
@every_mode
def test_subnormal_numbers_count_as_zero(case: SparseCase, tag: str, mode: str) -> None:
    """Also in sums."""
    arrays = narrow(copies(drawn(case, tag)), 21)
    tiny = float(np.finfo(compute_dtype(DTYPES[tag])).tiny) / 4
    arrays["grad"][::2] = DTYPES[tag].type(tiny)  # float16 has no number that small: 0
    want = case.expected(arrays, IDS, mode)
    case.call(arrays, IDS, duplicates=mode)
    check(case, arrays, want, mode)


@every_sparse_op
def test_signature(case: SparseCase) -> None:
    """TensorFlow's names in TensorFlow's order, its defaults, and ours behind them."""
    parameters = inspect.signature(case.function).parameters
    required = [n for n, p in parameters.items() if p.default is p.empty]
    optional = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
    assert required == case.arguments.split()
    assert [*parameters][: len(required)] == required
    bags = {"offsets": None, "weights": None, "mode": "sum", "include_last_offset": False}
    ours = {"duplicates": SEQUENTIAL, "bounds": "raise", **bags}
    assert optional == {"use_locking": False, **case.op.attrs, **ours, "name": None}


@every_sparse_op
def test_positional_arguments(case: SparseCase) -> None:
    arrays = case.draw(np.float32, ROWS, 4, IDS.size, seed=14)
    want = case.expected(arrays, IDS)
    named = {**arrays, **case.case.hyper, "indices": IDS}
    result = case.function(*(named[name] for name in case.arguments.split()))
    assert result is arrays["var"]
    check(case, arrays, want, "by position")


@pytest.mark.parametrize("case", [c for c in SPARSE_OPS if c.is_in_tensorflow("f32")], ids=str)
def test_one_function_has_two_names(case: SparseCase) -> None:
    assert getattr(raw_ops, f"Resource{case.name}") is case.function


@every_sparse_op
def test_use_locking_and_name_change_nothing(case: SparseCase) -> None:
    arrays = case.draw(np.float32, ROWS, 4, IDS.size, seed=15)
    want = case.expected(arrays, IDS)
    case.call(arrays, IDS, use_locking=True, name="any")
    check(case, arrays, want, "locked")


@every_sparse_op
@every_dtype
@every_mode
def test_a_plan_is_as_good_as_its_ids(case: SparseCase, tag: str, mode: str) -> None:
    """And can be used again, for another table."""
    plan = slotwise.RowPlan(IDS, ROWS)
    arrays = narrow(drawn(case, tag), 10)
    for _ in range(2):
        by_ids, by_plan = copies(arrays), copies(arrays)
        assert case.call(by_ids, IDS, duplicates=mode) is by_ids["var"]
        assert case.call(by_plan, plan, duplicates=mode) is by_plan["var"]
        check(case, by_plan, by_ids, mode)
        arrays = by_ids


@every_mode
def test_a_plan_that_skips(mode: str) -> None:
    case = SPARSE_BY_NAME["SparseApplyFtrl"]
    ids = np.array([4, -1, 4, 9, 0])
    arrays = case.draw(np.float32, ROWS, 6, ids.size, seed=16)
    by_ids, by_plan = copies(arrays), copies(arrays)
    plan = slotwise.RowPlan(ids, ROWS, bounds="skip")
    assert case.call(by_ids, ids, duplicates=mode, bounds="skip") == 2
    assert case.call(by_plan, plan, duplicates=mode, bounds="skip") == 2
    check(case, by_plan, by_ids, mode)


@in_rows(tag=sorted(ALL), width=[1, 15, 16, 17, 31, 32, 33, 48, 100])
def test_row_wise_mean(tag: str, width: int, target: str) -> None:
    """accum gains the mean of squares, summed as the documentation says."""
    case = SPARSE_BY_NAME["SparseApplyRowWiseAdagrad"]
    arrays = case.draw(DTYPES[tag], 2, width, 1, seed=17)
    compute = np.float64 if tag == "f64" else np.float32
    partial = np.zeros(16, compute)
    for j, g in enumerate(arrays["grad"][0].astype(compute)):
        partial[j % 16] += g * g
    for half in (8, 4, 2, 1):
        partial[:half] += partial[half : 2 * half]
    want = (arrays["accum"][1].astype(compute) + partial[0] / compute(width)).astype(DTYPES[tag])
    case.call(arrays, np.array([1]))
    assert bits(arrays["accum"])[1] == bits(want.reshape(1))[0]


def test_row_wise_nothing_over_nothing() -> None:
    case = SPARSE_BY_NAME["SparseApplyRowWiseAdagrad"]
    arrays = {"var": np.ones((2, 5), np.float32), "accum": np.zeros(2, np.float32)}
    case.call({**arrays, "grad": np.zeros((1, 5), np.float32)}, np.array([1]), epsilon=0.0)
    assert (arrays["var"] == 1).all()
    assert (arrays["accum"] == 0).all()


@every_mode
def test_more_than_2_to_the_31_elements(mode: str) -> None:
    rows, width = 2**26 + 5, 32
    var = np.zeros((rows, width), np.float16)  # pages that no one touches take no memory
    ids = np.array([0, 2**26, rows - 1, 2**26 - 1, 2**26, 2**25])
    grad = np.arange(1, ids.size + 1, dtype=np.float16)[:, None].repeat(width, 1)
    raw_ops.SparseApplyGradientDescent(var=var, alpha=-1.0, grad=grad, indices=ids, duplicates=mode)
    for row, value in {0: 1, 2**26: 7, rows - 1: 3, 2**26 - 1: 4, 2**25: 6}.items():
        assert (var[row] == value).all(), row
    for row in (1, 2**25 - 1, 2**25 + 1, 2**26 - 2, 2**26 + 1, rows - 2):
        assert not var[row].any(), row


def test_one_column_of_more_than_2_to_the_31_rows() -> None:
    """Row numbers beyond 32 bits; memory only for the pages that are touched."""
    rows = 2**31 + 4099
    var = np.zeros(rows, np.float16)
    ids = np.array([2**31 + 1, 7, 2**31 + 1, rows - 1])
    grad = np.array([1, 2, 4, 8], np.float16)
    raw_ops.SparseApplyGradientDescent(var=var, alpha=-1.0, grad=grad, indices=ids)
    assert var[ids].tolist() == [5, 2, 5, 8]
    assert var[(ids + 1) % rows].tolist() == [0, 0, 0, 0]


def test_every_rule_has_a_reference() -> None:
    """A rule that is registered is in the table."""
    names = {n for n in dir(raw_ops) if n.startswith("SparseApply")}
    assert names == set(SPARSE_BY_NAME)
    assert {case.name for case in EXACT_CASES} == names
