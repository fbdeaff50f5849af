# SPDX-License-Identifier: Apache-2.0
"""Bad input of the sparse ops, from the table of the dense ones; nothing is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import raw_ops
from support.bad_input import (
    ARRAYS,
    FLAGS,
    GRADIENT_OVERLAP,
    INTEGER,
    NUMBERS,
    OVERLAP,
    REAL,
    SAME_AS_VAR,
    SHAPE,
    STEP,
    UNLIKE_VAR,
    UPDATED,
    VAR,
    Arguments,
    Bad,
    changed,
    in_dtype,
    overlapping,
    value,
)
from support.cases import every_dtype, every_index, every_sparse_op, in_rows, row
from support.memory import copies
from support.ops import DTYPES, NEGATIVE, NOT_POSITIVE
from support.reference import Array
from support.rows import SPARSE_BY_NAME, SparseCase

ROWS, WIDTH = SHAPE
IDS = np.array([2, 0, 3, 1])  # as many as rows, so that the gradient has the shape of var


def in_memory_of(other: str) -> Any:
    """Valid ids that lie in another array."""

    def spoil(arguments: Arguments, name: str) -> Array:
        ids: Array = arguments[other].reshape(-1)[:ROWS].view(np.int32)
        ids[...] = IDS
        return ids

    return spoil


INDICES = (
    Bad("None", TypeError, value(None)),
    Bad("a number", TypeError, value(1)),
    Bad("a list", TypeError, value([2, 0, 3, 1])),
    Bad("a string", TypeError, value("rows")),
    Bad("bytes", TypeError, value(b"1234")),
    *(
        Bad(f"dtype {np.dtype(t)}", TypeError, in_dtype(t))
        for t in (
            *(np.int8, np.int16, np.uint8, np.uint16, np.uint32, np.uint64, np.bool_),
            *(np.float16, np.float32, np.float64, np.complex64, np.object_, np.str_, "M8[s]"),
            *("m8[s]", ">i4", ">i8"),
        )
    ),
    Bad("rank 0", ValueError, changed(lambda x: x[0])),
    Bad("rank 0 array", ValueError, value(np.array(1))),
    Bad("rank 2", ValueError, changed(lambda x: x[:, None])),
    Bad("rank 2, one row", ValueError, changed(lambda x: x[None])),
    Bad("in the memory of var", ValueError, in_memory_of(VAR)),
)
# Rows that do not match the ids.
GRADIENT = (
    Bad("one row less", ValueError, changed(lambda x: x[:-1].copy())),
    Bad("one row more", ValueError, changed(lambda x: x[[0, 1, 2, 3, 3]])),
)
CHOICES = (
    *(Bad(repr(x), TypeError, value(x)) for x in (None, True, 0, b"sum", ["sum"], np.array("x"))),
    *(Bad(repr(x), ValueError, value(x)) for x in ("", "Sum", "sums", " raise", "ignore", "sum\0")),
)
# What Ftrl's sparse ops refuse; the others refuse what the dense ones do.
OF_FTRL = {
    "lr": NOT_POSITIVE,
    **dict.fromkeys(("l1", "l2", "l2_shrinkage"), NEGATIVE),
    "lr_power": (0.5, 1e-30, np.inf, -np.inf, -1e300),
}
ROW_SLOT = (
    Bad("like var", ValueError, lambda arguments, name: np.ones(SHAPE, np.float32)),
    Bad("a column", ValueError, changed(lambda x: x[:, None])),
    Bad("one element less", ValueError, changed(lambda x: x[:-1].copy())),
    Bad("one element more", ValueError, value(np.ones(ROWS + 1, np.float32))),
    Bad("rank 0", ValueError, value(np.array(1, np.float32))),
    Bad("one element", ValueError, value(np.ones(1, np.float32))),
    Bad("float64", TypeError, in_dtype(np.float64)),
    Bad("strided", ValueError, changed(lambda x: np.repeat(x, 2)[::2])),
    Bad("in var", ValueError, lambda arguments, name: arguments[VAR].reshape(-1)[5 : 5 + ROWS]),
)


def slot_kinds(case: SparseCase) -> Iterator[tuple[str, Bad]]:
    for name in case.op.slots:
        yield from ((name, kind) for kind in ARRAYS)
        if case.row_wise:
            yield from ((name, kind) for kind in ROW_SLOT)
        else:
            kinds = (*UNLIKE_VAR, *UPDATED, *OVERLAP, *SAME_AS_VAR)
            yield from ((name, kind) for kind in kinds)


def kinds(case: SparseCase) -> Iterator[tuple[str, Bad]]:
    """Every argument of an op, with everything that can be wrong with it."""
    yield from ((VAR, kind) for kind in (*ARRAYS, *UPDATED))
    yield VAR, Bad("rank 0", ValueError, changed(lambda x: np.zeros((), np.float32)))
    yield from slot_kinds(case)
    unlike = (*ARRAYS, *UNLIKE_VAR, *GRADIENT, *GRADIENT_OVERLAP, *SAME_AS_VAR)
    yield from (("grad", kind) for kind in unlike)
    yield from (("indices", kind) for kind in INDICES)
    for name in case.op.slots:
        if not case.row_wise:
            yield "indices", Bad(f"in the memory of {name}", ValueError, in_memory_of(name))
    ranges = OF_FTRL if "Ftrl" in case.name else case.op.out_of_range
    for name in case.op.hyper:
        yield from ((name, kind) for kind in (*NUMBERS, *(INTEGER if name == STEP else REAL)))
        for x in ranges.get(name, ()):
            yield name, Bad(f"{x:g}", ValueError, value(x))
    for name in (*case.op.attrs, "use_locking"):
        yield from ((name, kind) for kind in FLAGS)
    for name in ("duplicates", "bounds"):
        yield from ((name, kind) for kind in CHOICES)


@cache
def drawn(case: SparseCase) -> dict[str, Array]:
    return case.draw(np.float32, ROWS, WIDTH, IDS.size, seed=1)


def valid(case: SparseCase) -> Arguments:
    return {**copies(drawn(case)), "indices": IDS.copy(), **case.case.hyper, **case.case.attrs}


def call_and_expect(
    case: SparseCase, arguments: Arguments, error: type[Exception], pattern: str
) -> str:
    """The message of the error, of which `pattern` is the part behind the op's name."""
    before = {key: x.tobytes() for key, x in arguments.items() if isinstance(x, np.ndarray)}
    with pytest.raises(error) as caught:
        case.function(**arguments)
    message = str(caught.value)
    assert re.fullmatch(rf"{case.name}: {pattern}", message)  # one line
    for key, x in before.items():
        assert arguments[key].tobytes() == x, f"{key} was written"
    return message


@every_sparse_op
def test_bad_arguments(case: SparseCase, subtests: pytest.Subtests) -> None:
    for name, kind in kinds(case):
        with row(subtests, f"{name}-{kind.what}"):
            arguments = valid(case)
            arguments[name] = kind.spoil(arguments, name)
            if name == VAR and kind.what == "rank 0":
                for slot in case.op.slots:
                    arguments[slot] = np.ones((0,) if case.row_wise else (), np.float32)
            call_and_expect(case, arguments, kind.error, rf"{name}: expected .+, got .+")


# Ids, and the place of the first one that is out of range.
OUTSIDE = (
    ([2, 0, 4, 1], 2),
    ([2, 0, 1, -1], 3),
    ([2**31 - 1, 0, 1, 2], 0),
    ([0, -(2**31), 9, 2], 1),
    ([1, 1, 1, 4], 3),
)


@every_sparse_op
@every_index
@in_rows(duplicates=["sequential", "sum", "error"], outside=OUTSIDE)
def test_out_of_range(
    case: SparseCase, index: type, duplicates: str, outside: tuple[list[int], int]
) -> None:
    """The first id that is out of range, with its place, before any row has changed."""
    ids, at = outside
    if duplicates == "error" and len(set(ids)) < len(ids):
        return  # one error at a time
    arguments = {**valid(case), "indices": np.array(ids, index), "duplicates": duplicates}
    message = rf"indices\[{at}\] = {ids[at]} is not in \[0, 4\)"
    call_and_expect(case, arguments, ValueError, message)


@every_sparse_op
@in_rows(row=[-(2**63), 2**63 - 1, 2**32, 2**32 + 1, -(2**32)])
def test_ids_that_only_64_bits_hold(case: SparseCase, row: int) -> None:
    arguments = {**valid(case), "indices": np.array([0, row, 1, row])}
    call_and_expect(case, arguments, ValueError, rf"indices\[1\] = {row} is not in \[0, 4\)")


@every_sparse_op
def test_message(case: SparseCase) -> None:
    """One in full, as a user reads it."""
    arrays = case.draw(np.float32, 10, 3, 5, seed=1)
    arguments = {**valid(case), **arrays, "indices": np.array([9, 0, 1, 12, 13])}
    message = call_and_expect(case, arguments, ValueError, ".*")
    assert message == f"{case.name}: indices[3] = 12 is not in [0, 10)"


@every_sparse_op
def test_no_row_is_in_range_of_an_empty_table(case: SparseCase) -> None:
    arrays = case.draw(np.float32, 0, 3, 1, seed=1)
    arguments = {**valid(case), **arrays, "indices": np.array([0])}
    call_and_expect(case, arguments, ValueError, r"indices\[0\] = 0 is not in \[0, 0\)")


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("at", [0, 1, 49_999, 50_000, 99_998, 99_999])
def test_first_of_many_out_of_range(threads: int, at: int) -> None:
    """Whichever thread finds it."""
    slotwise.set_num_threads(threads)
    case = SPARSE_BY_NAME["SparseApplyAdagrad"]
    count = 100_000
    ids = np.random.default_rng(1).integers(0, 1000, count)
    ids[at:] = -ids[at:] - 1
    arrays = case.draw(np.float32, 1000, 2, count, seed=2)
    arguments = {**arrays, "indices": ids, **case.case.hyper}
    call_and_expect(
        case, arguments, ValueError, rf"indices\[{at}\] = {ids[at]} is not in \[0, 1000\)"
    )


@every_sparse_op
@every_index
@in_rows(ids=[[2, 0, 2, 1], [1, 1, 1, 1], [0, 3, 2, 3]])
def test_duplicates_that_are_errors(case: SparseCase, index: type, ids: list[int]) -> None:
    """The first position that repeats an earlier id, and that earlier one."""
    arguments = {**valid(case), "indices": np.array(ids, index), "duplicates": "error"}
    again = next(i for i, row in enumerate(ids) if row in ids[:i])
    earlier = ids.index(ids[again])
    message = call_and_expect(case, arguments, ValueError, "indices: expected .+, got .+")
    assert re.search(rf"\b{earlier}\b.*\b{again}\b", message)
    plan = slotwise.RowPlan(arguments["indices"], ROWS)
    assert call_and_expect(case, {**arguments, "indices": plan}, ValueError, ".*") == message


def test_duplicates_out_of_range_are_skipped() -> None:
    """What is left out cannot repeat anything."""
    case = SPARSE_BY_NAME["SparseApplyAdam"]
    arguments = {**valid(case), "indices": np.array([-1, 2, -1, 1])}
    assert case.function(**arguments, duplicates="error", bounds="skip") == 2


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_first_repeat_of_many(threads: int) -> None:
    slotwise.set_num_threads(threads)
    count = 100_000
    ids = np.random.default_rng(3).permutation(count)
    ids[90_001], ids[70_000], ids[99_999] = ids[12], ids[60_000], ids[0]
    var, grad = np.zeros((count, 1), np.float32), np.ones((count, 1), np.float32)
    with pytest.raises(ValueError, match=r"at 60000 again at 70000"):
        raw_ops.SparseApplyGradientDescent(
            var=var, alpha=1.0, grad=grad, indices=ids, duplicates="error"
        )
    assert not var.any()


@every_sparse_op
@in_rows(rows=[ROWS - 1, ROWS + 1])
def test_plan_for_another_table(case: SparseCase, rows: int) -> None:
    plan = slotwise.RowPlan(np.array([0, 1, 2, 0]), rows)
    arguments = {**valid(case), "indices": plan}
    call_and_expect(case, arguments, ValueError, "indices: expected .+, got .+")


@every_sparse_op
@in_rows(duplicates=["sequential", "sum", "error"])
def test_plan_that_skipped(case: SparseCase, duplicates: str) -> None:
    """An op that is to raise does not leave out silently what the plan has left out."""
    plan = slotwise.RowPlan(np.array([-1, 2, ROWS, 2]), ROWS, bounds="skip")
    arguments = {**valid(case), "indices": plan, "duplicates": duplicates}
    message = (
        r'indices: expected a RowPlan that skipped no ids \(or bounds="skip"\), '
        "got one that skipped 2"
    )
    call_and_expect(case, arguments, ValueError, message)
    call_and_expect(case, {**arguments, "bounds": "raise"}, ValueError, message)


@every_sparse_op
def test_plan_that_had_nothing_to_skip(case: SparseCase) -> None:
    plan = slotwise.RowPlan(IDS, ROWS, bounds="skip")
    arguments = {**valid(case), "indices": plan}
    assert case.function(**arguments) is arguments["var"]
    assert case.function(**arguments, bounds="skip") == 0


@every_sparse_op
@in_rows(count=[0, 3, 5])
def test_plan_of_another_gradient(case: SparseCase, count: int) -> None:
    plan = slotwise.RowPlan(np.arange(count) % ROWS, ROWS)
    call_and_expect(case, {**valid(case), "indices": plan}, ValueError, "grad: expected .+, got .+")


@every_sparse_op
@in_rows(shift=[0, 1, 23])
def test_overlap_of_slots_and_gradient(case: SparseCase, shift: int) -> None:
    """Slot with slot, gradient with slot: whichever of the two is named, so is the other."""
    slots = [] if case.row_wise else [*case.op.slots]
    pairs = [(a, b) for i, a in enumerate(slots) for b in slots[:i]]
    for a, b in [*pairs, *(("grad", slot) for slot in slots)]:
        arguments = valid(case)
        arguments[a] = overlapping(b, shift)(arguments, a)
        message = call_and_expect(case, arguments, ValueError, f"({a}|{b}): .*")
        assert re.search(rf"\b{a}\b", message)
        assert re.search(rf"\b{b}\b", message)


@every_sparse_op
@every_dtype
def test_row_counts_of_slots(case: SparseCase, tag: str) -> None:
    """A slot with fewer or more rows than var."""
    for rows in (ROWS - 1, ROWS + 1):
        for slot in case.op.slots:
            arguments = {
                **valid(case),
                **case.draw(DTYPES[tag], ROWS, WIDTH, IDS.size, seed=2),
                slot: case.draw(DTYPES[tag], rows, WIDTH, 1, seed=3)[slot],
            }
            call_and_expect(case, arguments, ValueError, f"{slot}: expected .+, got .+")


@every_sparse_op
def test_without_ids_all_else_is_checked(case: SparseCase) -> None:
    arguments = {**valid(case), "indices": IDS[:0], "grad": np.zeros((0, WIDTH), np.float32)}
    wrong = np.zeros((0, WIDTH + 1), np.float32)
    call_and_expect(case, {**arguments, "grad": wrong}, ValueError, "grad: .*")
    name = next(iter(case.op.hyper))
    call_and_expect(case, {**arguments, name: float("nan")}, ValueError, f"{name}: .*")
    call_and_expect(case, {**arguments, "duplicates": "add"}, ValueError, "duplicates: .*")


@every_sparse_op
def test_missing_and_unknown_arguments(case: SparseCase) -> None:
    arguments = valid(case)
    for name in case.arguments.split():
        with pytest.raises(TypeError, match=name):
            case.function(**{key: x for key, x in arguments.items() if key != name})
    with pytest.raises(TypeError, match="learning_rate"):
        case.function(**arguments, learning_rate=1.0)


@pytest.mark.parametrize("op", ["SparseApplyFtrl", "SparseApplyFtrlV2"])
def test_ftrl_takes_0_as_lr_if_linear_is_multiplied_by_it(op: str) -> None:
    case = SPARSE_BY_NAME[op]
    arguments = {**valid(case), "lr": 0.0, "multiply_linear_by_lr": True}
    case.function(**arguments)
    call_and_expect(case, {**arguments, "lr": -1.0}, ValueError, "lr: expected .+, got .+")


@pytest.mark.parametrize("op", ["SparseApplyFtrl", "SparseApplyFtrlV2"])
def test_bounds_of_ranges_are_allowed(op: str) -> None:
    case = SPARSE_BY_NAME[op]
    zero = {name: 0.0 for name in case.op.hyper if name != "lr"}
    case.function(**{**valid(case), **zero})
    case.function(**{**valid(case), **dict.fromkeys(zero, -0.0)})
