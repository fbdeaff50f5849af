# SPDX-License-Identifier: Apache-2.0
"""Objects that export memory as other libraries do, made by hand.

NumPy's own DLPack export knows no bfloat16 and no other device; these do.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from support.reference import Array

CPU, CUDA = 1, 2
FLOAT, BFLOAT, INT = 2, 4, 0
READ_ONLY = 1


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _ManagedVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


# What consumers may still give back, for as long as the process lives: the garbage collector must
# not take a deleter before it is called.
_exported: list[Tensor] = []


@dataclass
class Tensor:
    """A tensor over the memory of an array, as a library of before DLPack 1.0 exports it."""

    array: Array
    device: int = CPU
    code: int = FLOAT
    lanes: int = 1
    without_strides: bool = False  # null strides: contiguous
    byte_offset: int = 0
    lies: dict[str, Any] = field(default_factory=dict)  # members that say something untrue
    deleted: int = 0  # how often the consumer gave the memory back
    _alive: list[Any] = field(default_factory=list)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self, stream: Any = None) -> Any:
        managed = _Managed(tensor=self._tensor(), deleter=self._deleter())
        return self._capsule(managed, b"dltensor")

    def _tensor(self) -> _Tensor:
        a = self.array
        size = a.itemsize
        shape = (ctypes.c_int64 * a.ndim)(*a.shape)
        strides = (ctypes.c_int64 * a.ndim)(*(s // size for s in a.strides))
        self._alive += [shape, strides]
        members = {
            "data": a.ctypes.data - self.byte_offset,
            "device_type": self.device,
            "ndim": a.ndim,
            "code": self.code,
            "bits": 8 * size,
            "lanes": self.lanes,
            "shape": shape,
            "strides": None if self.without_strides else strides,
            "byte_offset": self.byte_offset,
        }
        lies = {name: lie for name, lie in self.lies.items() if name in members}
        return _Tensor(**{**members, **lies})

    def _deleter(self) -> Any:
        def delete(_: Any) -> None:
            self.deleted += 1

        deleter = _Deleter(delete)
        self._alive.append(deleter)
        return deleter

    def _capsule(self, managed: ctypes.Structure, name: bytes) -> Any:
        self._alive += [managed, name]
        _exported.append(self)
        return _new_capsule(ctypes.addressof(managed), name, None)


@dataclass
class VersionedTensor(Tensor):
    """As a library of today exports it; it can say that its memory is read-only."""

    read_only: bool = False

    def __dlpack__(
        self, stream: Any = None, *, max_version: tuple[int, int] | None = None, **options: Any
    ) -> Any:
        assert max_version is not None, "the consumer does not know versioned tensors"
        managed = _ManagedVersioned(
            major=self.lies.get("major", 1),
            minor=0,
            flags=READ_ONLY if self.read_only else 0,
            deleter=self._deleter(),
            tensor=self._tensor(),
        )
        return self._capsule(managed, b"dltensor_versioned")


class NumPyTensor:
    """An array that shows DLPack and nothing else of itself."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)


class WithoutCapsule:
    """Exports something else than a capsule."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0

    def __dlpack__(self, **options: Any) -> Any:
        return 5


class Consumed(VersionedTensor):
    """Exports a capsule that another consumer has taken the memory from."""

    def __dlpack__(self, stream: Any = None, **options: Any) -> Any:
        return self._capsule(_ManagedVersioned(), b"used_dltensor_versioned")


def strided_view(shape: tuple[int, ...], dtype: Any) -> Array:
    """A transposed array with every second column reversed away: strides of all kinds."""
    memory = np.random.default_rng(1).standard_normal((2 * shape[-1], *shape[:-1]))
    view: Array = np.moveaxis(memory.astype(dtype)[::-2], 0, -1)
    return view
