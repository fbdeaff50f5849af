# SPDX-License-Identifier: Apache-2.0
"""Every op against the reference: all dtypes, targets, sizes, places in memory, thread counts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import slotwise
from slotwise import raw_ops
from support.cases import every_case, every_dtype, every_op, in_rows
from support.compare import assert_same
from support.memory import Guarded, Page, copies
from support.ops import BY_NAME, DTYPES, OPS, Case, Op
from support.reference import Array

LANES = {"f16": 16, "bf16": 16, "f32": 16, "f64": 8}  # of the widest target
MAX_SIZE = 2 * max(LANES.values()) + 1

# Distances from a cache line, in elements, of var, of the first slot (the next ones lie one
# further each), and of the gradient.
OFFSETS = ((0, 0, 0), (1, 1, 1), (0, 3, 5), (7, 2, 0), (15, 0, 1))


def offsets(op: Op, var: int, slot: int, grad: int) -> dict[str, int]:
    slots = {name: slot + i for i, name in enumerate(op.slots)}
    return {"var": var, **slots, op.gradient: grad}


def places(tag: str) -> Iterable[tuple[int, tuple[int, int, int]]]:
    return ((size, place) for size in range(2 * LANES[tag] + 2) for place in OFFSETS)


def on_best_target(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """One plain call. With pow (see test_pow.py) only the error of a result is known beforehand."""
    target = slotwise.active_target()
    slotwise.set_target(None)
    got = copies(arrays)
    case.call(got)
    slotwise.set_target(target)
    return got


@every_case
@every_dtype
def test_every_size_and_place(case: Case, tag: str, target: str) -> None:
    """Bit for bit what the reference says, and not one element before or behind."""
    op = case.op
    arrays = case.draw(DTYPES[tag], MAX_SIZE, seed=1)
    whole = {**arrays, **(case.expected(arrays) if case.exact else on_best_target(case, arrays))}
    guarded = {name: Guarded(DTYPES[tag], MAX_SIZE) for name in op.arrays}
    for size, place in places(tag):
        where = offsets(op, *place)
        placed = {
            name: memory.place(arrays[name][:size], where[name]) for name, memory in guarded.items()
        }
        case.call(placed)
        expected = {name: x[:size] for name, x in whole.items()}
        if not op.elementwise:
            expected.update(case.expected({name: x[:size] for name, x in arrays.items()}))
        for name, memory in guarded.items():
            if not memory.holds(expected[name]):
                assert_same(placed[name], expected[name], f"{name}, {size} at {place}")
                pytest.fail(f"{name}: wrote outside of {size} elements at {place}")


@every_op
@every_dtype
def test_next_to_forbidden_pages(op: Op, tag: str, target: str) -> None:
    """Neither reads nor writes beyond the ends of an array."""
    case = op.default()
    pages = {name: Page() for name in op.arrays}
    longest = case.draw(DTYPES[tag], 2 * LANES[tag] + 1, seed=1)
    of_longest = case.expected(longest)
    for size in range(1, 2 * LANES[tag] + 2):
        if op.elementwise:
            arrays = {name: x[:size] for name, x in longest.items()}
            expected = {name: x[:size] for name, x in of_longest.items()}
        else:
            arrays = case.draw(DTYPES[tag], size, seed=size)
            expected = case.expected(arrays)
        for end in (Page.first, Page.last):
            placed = {name: end(page, arrays[name]) for name, page in pages.items()}
            case.call(placed)
            for name in op.outputs:
                assert_same(placed[name], expected[name], name)


@every_case
@every_dtype
@pytest.mark.usefixtures("threads")
def test_threads_do_not_change_bits(case: Case, tag: str) -> None:
    """Arrays that are split among threads, at places that are not those of cache lines."""
    size = 300_007
    period = 1009 if case.op.elementwise else size
    small = case.draw(DTYPES[tag], period, seed=2)
    slotwise.set_num_threads(1)
    once = copies(small)
    case.call(once)
    if case.exact:
        expected = case.expected(small)
        for name in case.op.outputs:
            assert_same(once[name], expected[name], name)

    def repeated(x: Array) -> Array:
        return np.resize(x, size) if x.size else x

    memory = {name: Guarded(DTYPES[tag], size) for name in case.op.arrays}
    for threads, place in ((1, (0, 0, 0)), (2, (1, 2, 3)), (3, (5, 0, 0)), (8, (31, 7, 1))):
        slotwise.set_num_threads(threads)
        where = offsets(case.op, *place)
        placed = {name: m.place(repeated(small[name]), where[name]) for name, m in memory.items()}
        case.call(placed)
        for name, m in memory.items():
            assert m.holds(repeated(once[name])), (name, threads)


@every_op
@every_dtype
@in_rows(shape=[(), (1,), (0,), (0, 3), (3, 0, 2), (5, 7), (3, 1, 4), (2, 3, 4, 5)])
def test_shapes(op: Op, tag: str, shape: tuple[int, ...]) -> None:
    case = op.default()
    arrays = case.draw(DTYPES[tag], shape, seed=3)
    expected = case.expected(arrays)
    case.call(arrays)
    for name in op.outputs:
        assert_same(arrays[name], expected[name], name)


@every_op
def test_returns_var(op: Op) -> None:
    arrays = op.default().draw(np.float32, 5, seed=4)
    assert op.default().call(arrays) is arrays["var"]


@pytest.mark.parametrize("op", [op for op in OPS if op.tf_dtypes], ids=lambda op: op.name)
def test_one_function_has_two_names(op: Op) -> None:
    """As in TensorFlow, for the ops that it has."""
    assert getattr(raw_ops, f"Resource{op.name}") is op.function


@every_op
def test_signature(op: Op) -> None:
    """TensorFlow's names in TensorFlow's order, and its defaults."""
    signature = inspect.signature(op.function)
    attrs = {"use_locking": False, **op.attrs, "name": None}
    assert [*signature.parameters][: len(op.arguments.split())] == op.arguments.split()
    optional = {n: p.default for n, p in signature.parameters.items() if p.default is not p.empty}
    assert optional == attrs


@every_op
def test_positional_arguments(op: Op) -> None:
    case = op.default()
    arrays = case.draw(np.float32, 5, seed=5)
    expected = case.expected(arrays)
    named = {**arrays, **case.hyper}
    op.function(*(named[name] for name in op.arguments.split()))
    for name in op.outputs:
        assert_same(arrays[name], expected[name], name)


@every_op
def test_use_locking_and_name_change_nothing(op: Op) -> None:
    case = op.default()
    arrays = case.draw(np.float32, 100, seed=6)
    expected = case.expected(arrays)
    case.call(arrays, use_locking=True, name="any")
    for name in op.outputs:
        assert_same(arrays[name], expected[name], name)


@every_op
@every_dtype
def test_gradient_is_var(op: Op, tag: str) -> None:
    """The gradient of |w|^2 / 2 is w: users pass the same array."""
    case = op.default()
    arrays = case.draw(DTYPES[tag], 100, seed=7)
    arrays[op.gradient] = arrays["var"]
    expected = case.expected(arrays)
    case.call(arrays)
    for name in op.outputs:
        assert_same(arrays[name], expected[name], name)


def rank_0(dtype: npt.DTypeLike) -> Callable[[float], Array]:
    return lambda x: np.array(x, dtype)


FLOATS = (float, np.float64, np.float32, np.float16, np.longdouble, DTYPES["bf16"].type)
INTEGERS = (int, np.int8, np.uint64, np.int32)


@every_op
@every_dtype
@pytest.mark.parametrize(("value", "types"), [(0.5, FLOATS), (1, INTEGERS)], ids=["0.5", "1"])
def test_hyperparameters_of_any_real_type(op: Op, tag: str, value: float, types: Any) -> None:
    """A Python or NumPy number, or an array of rank 0, gives what the same float gives."""
    case = op.default().but(**{n: value for n in op.hyper if n not in ("lr_power", "global_step")})
    arrays = case.draw(DTYPES[tag], 20, seed=8)
    expected = case.expected(arrays)
    for number in (*types, *map(rank_0, types)):
        got = copies(arrays)
        numbers = {n: number(v) for n, v in case.hyper.items() if v == value}
        case.call(got, **numbers)
        for name in op.outputs:
            assert_same(got[name], expected[name], name)


@pytest.mark.parametrize("step", [5, np.int8(5), np.uint64(5), np.array(5), np.array(5, np.int16)])
def test_global_step_of_any_integer_type(step: Any) -> None:
    case = BY_NAME["ApplyAdagradDA"].default().but(global_step=5)
    arrays = case.draw(np.float32, 20, seed=9)
    expected = case.expected(arrays)
    case.call(arrays, global_step=step)
    assert_same(arrays["var"], expected["var"])
