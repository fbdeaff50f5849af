# SPDX-License-Identifier: Apache-2.0
"""Tensors as arrays over the same memory."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray

from slotwise import _core, _tables

# Tensors that tell their memory in a call of C. Others are asked in Python, which takes longer.
_TELLS = hasattr(torch.Tensor, "__dlpack_c_exchange_api__")


def array(op: str, name: str, tensor: torch.Tensor) -> NDArray[Any]:
    """An array over the memory of a dense tensor on the CPU. Nothing is copied.

    Args:
        op: what errors begin with.
        name: what they call the tensor.
        tensor: of a dtype that NumPy or ml_dtypes has.

    Raises:
        TypeError, ValueError: it is on another device, not dense, or of another dtype.
    """
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{op}: {name}: expected a tensor, got {type(tensor).__name__}")
    return _core.as_array(op, name, tensor.detach())


def tensor_of(values: NDArray[Any]) -> torch.Tensor:
    """A tensor over the memory of an array."""
    if values.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)


_LARGE = 2 << 20  # bytes that are worth a huge page
_TYPES = {getattr(torch, name): name for name in ("float16", "bfloat16", "float32", "float64")}


def full_like(tensor: torch.Tensor, value: complex) -> torch.Tensor:
    """A tensor like another, its elements in the same order; a large one asks for huge pages.

    Random rows cost less to reach in these, and torch asks for none.
    """
    is_plain = tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.dtype in _TYPES
    if not is_plain or tensor.nbytes < _LARGE:
        return torch.full_like(tensor, value, memory_format=torch.preserve_format)
    zeros = tensor_of(_tables.zeroed("full_like", tuple(tensor.shape), _TYPES[tensor.dtype]))
    return zeros.fill_(value) if value != 0 else zeros


def order_of(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """The axes of a tensor in the order in which its elements lie; None if it has them in order."""
    if tensor.is_contiguous():
        return None
    strides = tensor.stride()
    return tuple(sorted(range(tensor.dim()), key=lambda d: -strides[d]))


def in_order(tensor: torch.Tensor, order: tuple[int, ...] | None) -> torch.Tensor:
    """A view of real numbers, with the axes in another order. None: in theirs."""
    if order is not None:
        tensor = tensor.permute(order)
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def are_held(
    tensors: list[torch.Tensor],
    states: list[dict[str, Any]],
    names: tuple[str, ...],
    arrays: list[NDArray[Any]],
) -> bool:
    """Whether each tensor, and those of these names in its state, lie just where the arrays do.

    Args:
        tensors: contiguous ones.
        states: of each.
        names: of tensors in a state.
        arrays: of each tensor, and after it of those in its state.
    """
    if _TELLS:
        return _core.are_held(tensors, states, names, arrays)
    all_tensors = [
        each
        for tensor, state in zip(tensors, states, strict=True)
        for each in (tensor, *map(state.get, names))
    ]
    return all(map(_lies_in, all_tensors, arrays))


def _lies_in(tensor: Any, held: NDArray[Any]) -> bool:
    return (
        isinstance(tensor, torch.Tensor)
        and (tensor.data_ptr() == held.ctypes.data or held.size == 0)
        and tuple(tensor.shape) == held.shape
        and str(tensor.dtype) == f"torch.{held.dtype.name}"
        and tensor.device.type == "cpu"
        and tensor.is_contiguous()
    )
