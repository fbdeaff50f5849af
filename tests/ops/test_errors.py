# SPDX-License-Identifier: Apache-2.0
"""Bad input, for every op from one table: the error names op and argument; nothing is written."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from support.bad_input import SHAPE, STEP, Arguments, kinds, overlapping
from support.cases import every_dtype, every_op, in_rows, row
from support.memory import copies
from support.ops import BY_NAME, DTYPES, OPS, Op
from support.reference import Array


@cache
def drawn(name: str) -> dict[str, Array]:
    return BY_NAME[name].default().draw(np.float32, SHAPE, seed=1)


def valid(op: Op) -> Arguments:
    return {**copies(drawn(op.name)), **op.hyper, **op.attrs, "use_locking": False}


def call_and_expect(op: Op, arguments: Arguments, error: type[Exception], name: str) -> str:
    """The message of the error, which is that of argument `name`."""
    before = {key: x.tobytes() for key, x in arguments.items() if isinstance(x, np.ndarray)}
    with pytest.raises(error) as caught:
        op.function(**arguments)
    message = str(caught.value)
    assert re.fullmatch(rf"{op.name}: ({name}): expected .+, got .+", message)  # one line
    for key, x in before.items():
        assert arguments[key].tobytes() == x, f"{key} was written"
    return message


@every_op
def test_bad_arguments(op: Op, subtests: pytest.Subtests) -> None:
    untouched = valid(op)
    for name, kind in kinds(op):
        with row(subtests, f"{name}-{kind.what}"):
            arguments = valid(op)
            others = {other: arguments[other] for other in op.arrays if other != name}
            arguments[name] = kind.spoil(arguments, name)
            call_and_expect(op, arguments, kind.error, name)
            for other, x in others.items():
                assert x.tobytes() == untouched[other].tobytes(), f"{other} was written"


@pytest.mark.parametrize("op", [op for op in OPS if op.slots], ids=lambda op: op.name)
@in_rows(shift=[0, 1, 23])
def test_overlap_of_slots_and_gradient(op: Op, shift: int) -> None:
    """Slot with slot, gradient with slot: whichever of the two is named, so is the other."""
    slots = [name for name in op.slots if name not in op.layouts]
    pairs = [(a, b) for i, a in enumerate(slots) for b in slots[:i]]
    for a, b in [*pairs, *((op.gradient, slot) for slot in slots)]:
        arguments = valid(op)
        arguments[a] = overlapping(b, shift)(arguments, a)
        message = call_and_expect(op, arguments, ValueError, f"{a}|{b}")
        assert re.search(rf"\b{a}\b", message)
        assert re.search(rf"\b{b}\b", message)


@every_op
def test_neighbours_do_not_overlap(op: Op) -> None:
    case = op.default()
    shapes = {name: op.shape_of(name, SHAPE) for name in op.arrays}
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()])
    memory = np.split(np.ones(ends[-1], np.float32), ends[:-1])
    pieces = zip(shapes.items(), memory, strict=True)
    case.call({name: x.reshape(shape) for (name, shape), x in pieces})


@every_op
@every_dtype
def test_empty_arrays_never_overlap(op: Op, tag: str) -> None:
    case = op.default()
    x = np.zeros((0, 3), DTYPES[tag])
    shapes = {name: op.shape_of(name, x.shape) for name in op.layouts}
    others = {name: np.zeros(shape, x.dtype) for name, shape in shapes.items()}
    case.call({**dict.fromkeys(op.arrays, x), **others})


@every_op
def test_empty_arrays_are_checked_too(op: Op) -> None:
    arguments = {**valid(op), **op.default().draw(np.float32, (0, 3), seed=2)}
    wrong_shape = np.zeros((0, 4), np.float32)
    call_and_expect(op, {**arguments, op.gradient: wrong_shape}, ValueError, op.gradient)
    name = next(iter(op.hyper))
    call_and_expect(op, {**arguments, name: float("nan")}, ValueError, name)


@every_op
def test_missing_and_unknown_arguments(op: Op) -> None:
    arguments = valid(op)
    for name in op.arguments.split():
        with pytest.raises(TypeError, match=name):
            op.function(**{key: x for key, x in arguments.items() if key != name})
    with pytest.raises(TypeError, match="learning_rate"):
        op.function(**arguments, learning_rate=1.0)


def test_message() -> None:
    """One in full, as a user reads it."""
    adam = BY_NAME["ApplyAdam"]
    arguments = {**valid(adam), "grad": np.zeros((4, 2), np.float32)}
    message = call_and_expect(adam, arguments, ValueError, "grad")
    assert message == "ApplyAdam: grad: expected shape (4, 6) like var, got (4, 2)"


def test_out_of_range_only_in_the_compute_type() -> None:
    """1e-60 is a positive float64; next to float32 arrays it is 0."""
    case = BY_NAME["ApplyProximalAdagrad"].default()
    case.call(case.draw(np.float64, 3, seed=6), lr=1e-60)


@every_op
def test_infinite_hyperparameters_are_numbers(op: Op) -> None:
    case = op.default()
    for name in op.hyper:
        for x in (np.inf, -np.inf):
            if name == STEP or x in op.out_of_range.get(name, ()):
                continue
            arrays = case.draw(np.float32, 10, seed=7)
            expected = case.but(**{name: x}).expected(arrays)
            case.call(arrays, **{name: x})
            for output in op.outputs:
                np.testing.assert_array_equal(arrays[output], expected[output])
