# SPDX-License-Identifier: Apache-2.0
"""What counts as an array: NumPy's and its subclasses, buffers, DLPack tensors. All in place."""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from support import dlpack
from support.cases import every_dtype, every_op, in_rows
from support.compare import assert_same, bits
from support.jobs import needs_torch
from support.memory import copies, misaligned
from support.ops import BY_NAME, DTYPES, Op
from support.reference import Array

MOMENTUM = BY_NAME["ApplyMomentum"].default()


FORMAT: dict[str, Any] = {"f": "f", "d": "d"}


def in_buffer(x: Array) -> Any:
    return memoryview(bytearray(x.tobytes())).cast(FORMAT[x.dtype.char])


def in_array(x: Array) -> Any:
    return array.array(x.dtype.char, x.tobytes())


def in_ctypes(x: Array) -> Any:
    kind = {"f": ctypes.c_float, "d": ctypes.c_double}[x.dtype.char]
    return (kind * x.size).from_buffer_copy(x.tobytes())


def in_mmap(x: Array) -> Any:
    memory = mmap.mmap(-1, max(1, x.nbytes))
    memory.write(x.tobytes())
    return memoryview(memory)[: x.nbytes].cast(FORMAT[x.dtype.char])


def as_numpy(exporter: Any) -> Array:
    return np.asarray(getattr(exporter, "array", exporter))


EXPORTERS: list[Callable[[Array], Any]] = [
    in_buffer,
    in_array,
    in_ctypes,
    in_mmap,
    dlpack.NumPyTensor,
    dlpack.Tensor,
    dlpack.VersionedTensor,
]


@in_rows(export=EXPORTERS, tag=["f32", "f64"])
@every_op
def test_exporters_are_updated_in_place(op: Op, tag: str, export: Callable[..., Any]) -> None:
    case = op.default()
    arrays = case.draw(DTYPES[tag], 100, seed=1)
    expected = case.expected(arrays)
    exporters = {name: export(x.copy()) for name, x in arrays.items()}
    assert case.call(exporters) is exporters["var"]
    for name in op.outputs:
        assert_same(as_numpy(exporters[name]), expected[name], name)


@every_dtype
@every_op
def test_memmap(op: Op, tag: str, tmp_path: Path) -> None:
    """The file has the new values."""
    case = op.default()
    arrays = case.draw(DTYPES[tag], (10, 7), seed=2)
    expected = case.expected(arrays)
    files = {}
    for name, x in arrays.items():
        files[name] = np.memmap(tmp_path / name, x.dtype, "w+", shape=x.shape)
        files[name][...] = x
    assert case.call(files) is files["var"]
    for name in op.outputs:
        files[name].flush()
        stored = np.fromfile(tmp_path / name, DTYPES[tag])
        assert_same(stored.reshape(expected[name].shape), expected[name], name)


@every_dtype
def test_subclass_of_ndarray(tag: str) -> None:
    class Weights(np.ndarray):
        pass

    arrays = MOMENTUM.draw(DTYPES[tag], 10, seed=3)
    expected = MOMENTUM.expected(arrays)
    weights = arrays["var"].view(Weights)
    assert MOMENTUM.call({**arrays, "var": weights}) is weights
    assert_same(arrays["var"], expected["var"])


@pytest.mark.parametrize("tensor", [dlpack.Tensor, dlpack.VersionedTensor])
@every_dtype
def test_dlpack_of_every_dtype(tag: str, tensor: type[dlpack.Tensor]) -> None:
    """Strides given or not, data at an offset; and the memory is given back exactly once."""
    code = dlpack.BFLOAT if tag == "bf16" else dlpack.FLOAT
    arrays = MOMENTUM.draw(DTYPES[tag], (3, 5), seed=4)
    expected = MOMENTUM.expected(arrays)
    tensors = {
        "var": tensor(arrays["var"], code=code),
        "accum": tensor(arrays["accum"], code=code, without_strides=True),
        "grad": tensor(arrays["grad"], code=code, byte_offset=64),
    }
    assert MOMENTUM.call(tensors) is tensors["var"]
    gc.collect()
    assert [t.deleted for t in tensors.values()] == [1, 1, 1]
    for name in MOMENTUM.op.outputs:
        assert_same(arrays[name], expected[name], name)


@every_dtype
def test_dlpack_strided_gradient(tag: str) -> None:
    arrays = MOMENTUM.draw(DTYPES[tag], (3, 5), seed=5)
    arrays["grad"] = dlpack.strided_view((3, 5), DTYPES[tag])
    expected = MOMENTUM.expected(arrays)
    code = dlpack.BFLOAT if tag == "bf16" else dlpack.FLOAT
    MOMENTUM.call({**arrays, "grad": dlpack.Tensor(arrays["grad"], code=code)})
    for name in MOMENTUM.op.outputs:
        assert_same(arrays[name], expected[name], name)


def test_dlpack_shapes() -> None:
    for shape in ((), (0,), (2, 0, 3)):
        arrays = MOMENTUM.draw(np.float32, shape, seed=6)
        expected = MOMENTUM.expected(arrays)
        MOMENTUM.call({name: dlpack.Tensor(x) for name, x in arrays.items()})
        for name in MOMENTUM.op.outputs:
            assert_same(arrays[name], expected[name], name)


@every_op
def test_read_only_gradients(op: Op) -> None:
    """As bytes, a read-only array and a read-only tensor: all that a gradient need be."""
    case = op.default()
    arrays = case.draw(np.float32, 30, seed=7)
    expected = case.expected(arrays)
    gradient = arrays[op.gradient]
    frozen = gradient.copy()
    frozen.flags.writeable = False
    for read_only in (
        frozen,
        memoryview(gradient.tobytes()).cast("f"),
        dlpack.VersionedTensor(gradient, read_only=True),
    ):
        got = copies(arrays)
        case.call({**got, op.gradient: read_only})
        for name in op.outputs:
            assert_same(got[name], expected[name], name)


@every_dtype
@every_op
def test_misaligned_gradient(op: Op, tag: str) -> None:
    """Not even on an address that its dtype asks for: copied element by element."""
    case = op.default()
    arrays = case.draw(DTYPES[tag], 700, seed=8)
    expected = case.expected(arrays)
    arrays[op.gradient] = misaligned(arrays[op.gradient])
    assert not arrays[op.gradient].flags.aligned
    case.call(arrays)
    for name in op.outputs:
        assert_same(arrays[name], expected[name], name)


@every_dtype
def test_gradient_strides_through_other_arrays(tag: str) -> None:
    """A gradient may lie around var, as long as they share no element."""
    memory = np.zeros((50, 2), DTYPES[tag])
    memory[:, 0] = MOMENTUM.draw(DTYPES[tag], 50, seed=9)["grad"]
    arrays = {"accum": np.zeros(50, DTYPES[tag]), "grad": memory[:, 0]}
    plain = copies(arrays)
    both = np.zeros(150, DTYPES[tag])
    both[0::3] = memory[:, 0]
    plain["var"] = np.ones(50, DTYPES[tag])
    around = np.lib.stride_tricks.as_strided(both, (2,), (149 * both.itemsize,))
    around[...] = 3
    var = both[1:149][:2]
    var[...] = 5
    accum = np.zeros(2, DTYPES[tag])
    MOMENTUM.call({"var": var, "accum": accum, "grad": around}, lr=1.0, momentum=0.0)
    assert (var == 2).all()
    assert (accum == 3).all()
    assert (around == 3).all()


@pytest.mark.parametrize("ids", [[1], (1,)])
def test_sequences_are_no_arrays(ids: Any) -> None:
    expected = rf"ids: expected an array.*, got {type(ids).__name__} \(np.asarray makes an array"
    with pytest.raises(TypeError, match=expected):
        slotwise.gather(np.zeros((3, 2), np.float32), ids)


@needs_torch
@pytest.mark.parametrize("tag", ["f16", "bf16", "f32", "f64"])
def test_torch_tensors(tag: str) -> None:
    """The real library where it is installed: it is large, and no dependency of ours.

    The tests above do the same with tensors made by hand.
    """
    import torch

    dtype = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64"}[tag]
    arrays = MOMENTUM.draw(DTYPES[tag], (6, 7), seed=10)
    expected = MOMENTUM.expected(arrays)
    tensors = {
        name: torch.tensor(x.astype(np.float64), dtype=getattr(torch, dtype))
        for name, x in arrays.items()
    }
    assert MOMENTUM.call(tensors) is tensors["var"]
    for name in MOMENTUM.op.outputs:
        got = tensors[name].view(getattr(torch, f"int{8 * arrays[name].itemsize}")).numpy()
        assert (got.view(bits(expected[name]).dtype) == bits(expected[name])).all()
