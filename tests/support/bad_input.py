# SPDX-License-Identifier: Apache-2.0
"""The table of bad input: everything that can be wrong with an argument, and its exception."""

from __future__ import annotations

import array
import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from support import dlpack
from support.memory import misaligned, read_only
from support.ops import DTYPES, Op
from support.reference import Array

VAR, STEP = "var", "global_step"

SHAPE = (4, 6)
SIZE = 24

Arguments = dict[str, Any]
Spoil = Callable[[Arguments, str], Any]


@dataclass(frozen=True)
class Bad:
    """One way to spoil an argument; `spoil` makes its value, given all arguments and its name."""

    what: str
    error: type[Exception]
    spoil: Spoil


def value(x: Any) -> Spoil:
    return lambda arguments, name: x


def changed(function: Callable[[Array], Any]) -> Spoil:
    return lambda arguments, name: function(arguments[name])


def in_dtype(dtype: npt.DTypeLike) -> Spoil:
    return changed(lambda x: x.astype(dtype))


def overlapping(other: str, shift: int) -> Spoil:
    """In the memory of another array, `shift` elements further."""

    def spoil(arguments: Arguments, name: str) -> Array:
        memory = np.zeros(2 * SIZE, np.float32)
        memory[:SIZE] = arguments[other].reshape(-1)
        arguments[other] = memory[:SIZE].reshape(SHAPE)
        moved: Array = memory[shift : shift + SIZE].reshape(SHAPE)
        return moved

    return spoil


class Unfloatable:
    def __float__(self) -> float:
        raise ValueError("no number")


# What a DLPack tensor may say of itself, untruly.
LIES: tuple[tuple[str, Any], ...] = (
    ("device_type", dlpack.CUDA),
    ("shape", None),
    ("ndim", -1),
    ("ndim", 1000),
)


def lying(name: str, lie: Any) -> Callable[[Array], Any]:
    return lambda x: dlpack.Tensor(x, lies={name: lie})


# What no array argument can be, not even one without elements.
EVEN_EMPTY = (
    Bad("None", TypeError, value(None)),
    Bad("a number", TypeError, value(1.5)),
    Bad("a list", TypeError, value([1.0, 2.0])),
    Bad("a string", TypeError, value("array")),
    Bad("no array", TypeError, value(object())),
    *(
        Bad(f"dtype {np.dtype(t)}", TypeError, in_dtype(t))
        for t in (
            *(np.int8, np.int32, np.uint32, np.int64, np.bool_, np.complex64, np.complex128),
            *(np.longdouble, np.object_, np.str_, "M8[s]", ml_dtypes.float8_e4m3fn, ml_dtypes.int4),
        )
    ),
    Bad("big-endian", TypeError, changed(lambda x: x.astype(">f4"))),
    Bad("a structured dtype", TypeError, changed(lambda x: np.zeros(SHAPE, "f4,f4"))),
    Bad("an array.array of integers", TypeError, value(array.array("i", [1, 2]))),
    Bad("bytes", TypeError, value(b"1234")),
    Bad("a buffer of pointers", TypeError, value((ctypes.c_void_p * SIZE)())),
    Bad("a buffer of wide characters", TypeError, value((ctypes.c_wchar * SIZE)())),
    Bad("a buffer of text", TypeError, changed(lambda x: np.full(SHAPE, "a"))),
    Bad("on a GPU", ValueError, changed(lambda x: dlpack.Tensor(x, device=dlpack.CUDA))),
    Bad("DLPack integers", TypeError, changed(lambda x: dlpack.Tensor(x, code=dlpack.INT))),
    Bad("DLPack with lanes", TypeError, changed(lambda x: dlpack.Tensor(x, lanes=2))),
    *(
        Bad(f"a DLPack tensor that lies: {name}", ValueError, changed(lying(name, lie)))
        for name, lie in LIES
    ),
    Bad(
        "DLPack of version 2",
        ValueError,
        changed(lambda x: dlpack.VersionedTensor(x, lies={"major": 2})),
    ),
    Bad("DLPack without a capsule", TypeError, value(dlpack.WithoutCapsule())),
    Bad("DLPack consumed before", ValueError, changed(dlpack.Consumed)),
)
# What no array argument with elements can be.
ARRAYS = (
    *EVEN_EMPTY,
    Bad("a DLPack tensor that lies: data", ValueError, changed(lying("data", None))),
)
# What does not go with var.
UNLIKE_VAR = (
    Bad("one axis more", ValueError, changed(lambda x: x[None])),
    Bad("one axis less", ValueError, changed(lambda x: x.reshape(-1))),
    Bad("one element less", ValueError, changed(lambda x: x[:, :-1].copy())),
    Bad("transposed", ValueError, changed(lambda x: x.T.copy())),
    Bad("broadcastable", ValueError, changed(lambda x: x[:1].copy())),
    Bad("rank 0", ValueError, changed(lambda x: x[0, 0])),
    Bad("empty", ValueError, changed(lambda x: x[:0])),
    Bad("DLPack of other shape", ValueError, changed(lambda x: dlpack.Tensor(x[:2]))),
    *(
        Bad(f"dtype {tag} next to f32", TypeError, in_dtype(DTYPES[tag]))
        for tag in ("f16", "bf16", "f64")
    ),
)
# What cannot be updated in place.
UPDATED = (
    Bad("read-only", ValueError, changed(read_only)),
    Bad("bytes", ValueError, changed(lambda x: memoryview(x.tobytes()).cast("B").cast("f", SHAPE))),
    Bad("Fortran order", ValueError, changed(np.asfortranarray)),
    Bad("every second row", ValueError, changed(lambda x: np.repeat(x, 2, 0)[::2])),
    Bad("reversed", ValueError, changed(lambda x: x[::-1])),
    Bad("broadcast", ValueError, changed(lambda x: np.broadcast_to(x[:1], SHAPE))),
    Bad("misaligned", ValueError, changed(misaligned)),
    Bad(
        "a read-only tensor",
        ValueError,
        changed(lambda x: dlpack.VersionedTensor(x, read_only=True)),
    ),
    Bad(
        "a strided tensor", ValueError, changed(lambda x: dlpack.Tensor(np.repeat(x, 2, 1)[:, ::2]))
    ),
)
OVERLAP = tuple(Bad(f"overlaps var by {s}", ValueError, overlapping(VAR, s)) for s in (1, 7, 23))
SAME_AS_VAR = (Bad("is var", ValueError, lambda arguments, name: arguments[VAR]),)
GRADIENT_OVERLAP = (
    *OVERLAP,
    Bad("is var reversed", ValueError, lambda arguments, name: arguments[VAR][::-1]),
    Bad("is var's first row", ValueError, lambda a, name: np.broadcast_to(a[VAR][0], SHAPE)),
    Bad("is var in other order", ValueError, lambda a, n: a[VAR].reshape(6, 4).T),
)
# What a slot of another layout, a vector next to a var of SHAPE, cannot be.
WITH_LAYOUT = (
    *SAME_AS_VAR,
    Bad("one axis more", ValueError, changed(lambda x: x[None])),
    Bad("one element less", ValueError, changed(lambda x: x[1:])),
    Bad("one element", ValueError, changed(lambda x: x[:1])),
    Bad("empty", ValueError, changed(lambda x: x[:0])),
    Bad("rank 0", ValueError, changed(lambda x: x[0])),
    Bad("dtype f64 next to f32", TypeError, in_dtype(np.float64)),
    Bad("read-only", ValueError, changed(read_only)),
    Bad("strided", ValueError, changed(lambda x: np.repeat(x, 2)[::2])),
    Bad("misaligned", ValueError, changed(misaligned)),
    Bad("in var", ValueError, lambda a, name: a[VAR].reshape(-1)[5 : 5 + a[name].size]),
)
# What a slot that has no elements next to a var of SHAPE cannot be.
WITHOUT_ELEMENTS = (
    *SAME_AS_VAR,
    Bad("one axis more", ValueError, changed(lambda x: x[None])),
    Bad("one element", ValueError, value(np.zeros(1, np.float32))),
    Bad("dtype f64 next to f32", TypeError, in_dtype(np.float64)),
    Bad("read-only", ValueError, changed(read_only)),
)
NUMBERS = (
    *(
        Bad(f"{x!r}", TypeError, value(x))
        for x in (None, "0.1", b"1", True, np.True_, 1j, np.complex64(1), [0.1], (1,), {}, int)
    ),
    Bad("a failing __float__", TypeError, value(Unfloatable())),
    *(
        Bad(f"rank 0 of {x.dtype}", TypeError, value(x))
        for x in map(np.array, (True, 1j, "1", None, np.datetime64("2000")))
    ),
    *(
        Bad(f"shape {x.shape}", ValueError, value(x))
        for x in (np.ones(1), np.ones((1, 1), np.float32), np.ones(3), np.ones(0))
    ),
)
REAL = (
    Bad("NaN", ValueError, value(float("nan"))),
    Bad("NaN of NumPy", ValueError, value(np.float32("nan"))),
    Bad("NaN in an array", ValueError, value(np.array(np.nan, np.float16))),
)
INTEGER = (
    *(Bad(repr(x), TypeError, value(x)) for x in (3.0, np.float32(3), np.array(3.0), float("nan"))),
    Bad("more than 64 bits", ValueError, value(2**63)),
    Bad("less than 64 bits", ValueError, value(-(2**63) - 1)),
)
FLAGS = tuple(Bad(repr(x), TypeError, value(x)) for x in (None, 0, 1, "yes", 1.0, [], np.array(1)))


def kinds(op: Op) -> Iterator[tuple[str, Bad]]:
    """Every argument of an op, with everything that can be wrong with it."""
    empty = [name for name in op.layouts if 0 in op.shape_of(name, SHAPE)]
    for name in op.arrays:
        yield from ((name, kind) for kind in (EVEN_EMPTY if name in empty else ARRAYS))
    for name in op.layouts:
        yield from ((name, kind) for kind in (WITHOUT_ELEMENTS if name in empty else WITH_LAYOUT))
    like_var = [name for name in op.slots if name not in op.layouts]
    for name in (*like_var, op.gradient):
        yield from ((name, kind) for kind in UNLIKE_VAR)
    for name in (VAR, *like_var):
        yield from ((name, kind) for kind in UPDATED)
    for name in like_var:
        yield from ((name, kind) for kind in (*OVERLAP, *SAME_AS_VAR))
    yield from ((op.gradient, kind) for kind in GRADIENT_OVERLAP)
    for name in op.hyper:
        yield from ((name, kind) for kind in (*NUMBERS, *(INTEGER if name == STEP else REAL)))
        for x in op.out_of_range.get(name, ()):
            yield name, Bad(f"{x:g}", ValueError, value(x))
    for name in (*op.attrs, "use_locking"):
        yield from ((name, kind) for kind in FLAGS)
