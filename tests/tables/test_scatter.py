# SPDX-License-Identifier: Apache-2.0
"""The scatter ops against NumPy, one entry after the other: all dtypes, targets, shapes of ids."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import slotwise
from slotwise import raw_ops
from support.cases import every_dtype, every_index, in_rows
from support.compare import assert_same
from support.ops import DTYPES
from support.reference import Array, Vec, compute_dtype

INTEGERS = {f"{s}{b}": np.dtype(f"{s}{b // 8}") for s in "iu" for b in (8, 16, 32, 64)}
NUMBERS = {**DTYPES, **INTEGERS}
OPS = ("Add", "Sub", "Mul", "Div", "Min", "Max", "Update")
ROWS = 7
IDS = np.array([3, 0, 6, 3, 1, 3, 0])

every_op = pytest.mark.parametrize("op", OPS)
every_number = in_rows(tag=NUMBERS)


def is_float(dtype: np.dtype) -> bool:
    return dtype in DTYPES.values()


def draw(dtype: np.dtype, shape: tuple[int, ...], seed: int) -> Array:
    """No zeros: Div takes none."""
    rng = np.random.default_rng(seed)
    if is_float(dtype):
        return (rng.standard_normal(shape) + 3 * rng.choice([-1, 1], shape)).astype(dtype)
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    return np.where(x == 0, dtype.type(1), x)


def combine(op: str, a: Array, b: Array) -> Array:
    """One rounding for each; integers wrap around, and their division truncates."""
    if op == "Update":
        return b
    if not is_float(a.dtype):
        return integers(op, a, b)
    x, y = (Vec(z.astype(compute_dtype(a.dtype))) for z in (a, b))
    results = {
        "Add": lambda: x + y,
        "Sub": lambda: x - y,
        "Mul": lambda: x * y,
        "Div": lambda: x / y,
        "Min": lambda: Vec(np.where((y < x), y.data, x.data)),
        "Max": lambda: Vec(np.where((x < y), y.data, x.data)),
    }
    result: Array = results[op]().data.astype(a.dtype)
    return result


def integers(op: str, a: Array, b: Array) -> Array:
    if op in ("Min", "Max"):
        return (np.minimum if op == "Min" else np.maximum)(a, b)
    if op == "Div":
        quotients = [truncated(int(x), int(y)) for x, y in zip(a.flat, b.flat, strict=True)]
        bits = 8 * a.dtype.itemsize
        wrapped = np.array([q % 2**bits for q in quotients], np.uint64)
        return wrapped.astype(f"u{bits // 8}").view(a.dtype).reshape(a.shape)
    return {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[op](a, b)


def truncated(x: int, y: int) -> int:
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def expected(op: str, ref: Array, ids: Array, updates: Array) -> Array:
    out = ref.copy()
    rows = np.broadcast_to(updates, ids.shape + ref.shape[1:]).reshape(ids.size, *ref.shape[1:])
    with np.errstate(all="ignore"):
        for row, update in zip(ids.reshape(-1), rows, strict=True):
            out[row] = combine(op, np.atleast_1d(out[row]), np.atleast_1d(update)).reshape(
                out[row].shape
            )
    return out


def call(op: str, ref: Array, ids: Array, updates: Array) -> None:
    assert getattr(raw_ops, f"Scatter{op}")(ref=ref, indices=ids, updates=updates) is ref


@every_op
@every_number
@every_index
def test_every_width(op: str, tag: str, index: type, target: str) -> None:
    dtype = NUMBERS[tag]
    for width in (*range(1, 18), 31, 33, 64, 100):
        ref = draw(dtype, (ROWS, width), 1)
        updates = draw(dtype, (IDS.size, width), 2)
        want = expected(op, ref, IDS, updates)
        call(op, ref, IDS.astype(index), updates)
        assert_same_number(ref, want, width)


def assert_same_number(got: Array, want: Array, what: object) -> None:
    if is_float(got.dtype):
        assert_same(got, want, what)
    else:
        assert (got == want).all(), what


@every_op
@every_number
@in_rows(ids=[(), (3,), (2, 3), (2, 1, 2), (0,), (2, 0)], row=[(), (5,), (2, 3)])
def test_shapes(op: str, tag: str, ids: tuple[int, ...], row: tuple[int, ...]) -> None:
    """Ids of any rank; updates in full, or one number for all."""
    dtype = NUMBERS[tag]
    indices = np.random.default_rng(3).integers(0, ROWS, ids)
    for updates in (draw(dtype, ids + row, 4), draw(dtype, (), 5)):
        ref = draw(dtype, (ROWS, *row), 6)
        want = expected(op, ref, indices, updates)
        call(op, ref, np.asarray(indices), np.asarray(updates))
        assert_same_number(ref, want, ids)


@every_op
@pytest.mark.parametrize("scalar", [False, True])
def test_a_plan_that_skips(op: str, scalar: bool) -> None:
    """What it left out is not written."""
    ids = np.array([3, -1, 0, 3, ROWS])
    ref, inside = draw(NUMBERS["f32"], (ROWS, 4), 16), [0, 2, 3]
    updates = draw(NUMBERS["f32"], () if scalar else (ids.size, 4), 17)
    want = expected(op, ref, ids[inside], updates if scalar else updates[inside])
    plan = slotwise.RowPlan(ids, ROWS, bounds="skip")
    call(op, ref, plan, updates)
    assert_same_number(ref, want, op)


@every_op
@pytest.mark.parametrize("shape", [(IDS.size, 4), ()], ids=str)
def test_exporters_of_memory(op: str, shape: tuple[int, ...]) -> None:
    """Anything that exports a buffer, in place of each array."""
    ref, updates = draw(NUMBERS["f32"], (ROWS, 4), 14), draw(NUMBERS["f32"], shape, 15)
    want = expected(op, ref, IDS, updates)
    call(op, memoryview(ref), memoryview(IDS), memoryview(updates))
    assert_same_number(ref, want, shape)


@every_op
@in_rows(tag=["f32", "f16", "i32", "u8"])
@pytest.mark.usefixtures("threads")
def test_threads_do_not_change_bits(op: str, tag: str) -> None:
    rng = np.random.default_rng(7)
    ids = rng.integers(0, 2000, 100_003)
    ids[rng.random(ids.size) < 0.3] = 1234
    ref, updates = draw(NUMBERS[tag], (2000, 5), 8), draw(NUMBERS[tag], (ids.size, 5), 9)
    results = []
    for threads in (1, 2, 3, 8):
        slotwise.set_num_threads(threads)
        results.append(ref.copy())
        call(op, results[-1], ids, updates)
        assert_same_number(results[-1], results[0], threads)


@every_dtype
def test_min_and_max_keep_the_stored_number(tag: str, target: str) -> None:
    """On ties, and against NaN, whichever of the two it is."""
    nan = np.nan
    for op in ("Min", "Max"):
        ref = np.array([nan, 1, 0, -0.0] * 9, DTYPES[tag])[None]
        updates = np.array([1, nan, -0.0, 0] * 9, DTYPES[tag])[None]
        want = ref.copy()
        call(op, ref, np.array([0]), updates)
        assert_same(ref, want, op)


@every_number
@in_rows(zero=[0.0, -0.0])
def test_division_by_zero(tag: str, zero: float) -> None:
    dtype = NUMBERS[tag]
    ref = draw(dtype, (ROWS, 3), 10)
    before = ref.tobytes()
    updates = draw(dtype, (IDS.size, 3), 11)
    updates[-1, -1] = zero
    for bad in (updates, np.array(zero, dtype)):
        with pytest.raises(ValueError, match="ScatterDiv: updates"):
            call("Div", ref, IDS, bad)
        assert ref.tobytes() == before


@pytest.mark.parametrize("tag", ["f32", "f64"])
def test_update_copies_bytes(tag: str) -> None:
    """Also subnormals and the payloads of NaN; booleans too."""
    dtype = DTYPES[tag]
    updates = np.arange(1, 15).astype(f"u{dtype.itemsize}").view(dtype).reshape(2, 7)
    ref = np.zeros((4, 7), dtype)
    call("Update", ref, np.array([2, 0]), updates)
    assert ref[[2, 0]].tobytes() == updates.tobytes()
    flags = np.zeros((4, 3), bool)
    call("Update", flags, np.array([1]), np.ones((1, 3), bool))
    assert flags.sum() == 3


@every_op
@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (np.array([0, 1, -1]), r"indices\[2\] = -1"),
        (np.array([[0, 1], [7, 9]]), r"indices\[1,0\] = 7"),
        (np.array(7), r"indices = 7"),
    ],
    ids=["rank 1", "rank 2", "rank 0"],
)
def test_out_of_range(op: str, ids: Array, text: str) -> None:
    ref = draw(NUMBERS["f32"], (ROWS, 3), 12)
    before = ref.tobytes()
    with pytest.raises(ValueError, match=rf"Scatter{op}: {text} is not in \[0, 7\)"):
        call(op, ref, ids, draw(NUMBERS["f32"], (*ids.shape, 3), 13))
    assert ref.tobytes() == before


@every_op
def test_bad_input(op: str) -> None:
    ref = np.ones((4, 3), np.float32)
    ids = np.array([1, 2])
    updates = np.ones((2, 3), np.float32)
    for error, changed in (
        (ValueError, {"updates": np.ones((2, 2), np.float32)}),
        (ValueError, {"updates": np.ones((3, 3), np.float32)}),
        (ValueError, {"updates": np.ones(3, np.float32)}),
        (ValueError, {"updates": np.ones(1, np.float32)}),
        (TypeError, {"updates": updates.astype(np.float64)}),
        (TypeError, {"updates": np.array(1.0)}),
        (TypeError, {"updates": np.array(None)}),
        (TypeError, {"updates": None}),
        (TypeError, {"indices": ids.astype(np.float32)}),
        (TypeError, {"indices": ids.astype(np.uint32)}),
        (ValueError, {"updates": ref[:2]}),
        (TypeError, {"ref": ref.astype(np.complex64)}),
        (TypeError, {"ref": None}),
        (ValueError, {"ref": np.asfortranarray(ref)}),
        (ValueError, {"ref": np.array(1, np.float32)}),
    ):
        with pytest.raises(error, match=rf"^Scatter{op}: ({next(iter(changed))}|updates): expect"):
            getattr(raw_ops, f"Scatter{op}")(
                **{"ref": ref, "indices": ids, "updates": updates, **changed}
            )
        assert (ref == 1).all()


def test_names() -> None:
    """The Resource ops call the table `resource`."""
    for op in OPS:
        ref = np.ones((4, 3), np.float32)
        getattr(raw_ops, f"ResourceScatter{op}")(ref, np.array([1]), np.full((1, 3), 2, np.float32))
        assert (ref[[0, 2, 3]] == 1).all()
    assert ml_dtypes.bfloat16 in {d.type for d in NUMBERS.values()}
