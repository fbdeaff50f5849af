// SPDX-License-Identifier: Apache-2.0
// An ndarray over the memory of a DLPack tensor (https://dmlc.github.io/dlpack/). NumPy's own
// from_dlpack knows no bfloat16 and makes writable tensors read-only.
#pragma once

#include "bindings/numpy_api.h"

namespace slotwise {

// Whether its type has the table of functions by which DLPack tensors are exchanged in C.
bool HasExchange(pybind11::handle object);

// Whether a tensor that HasExchange lies in just the memory of an array, which is contiguous, with
// the same shape and dtype.
bool IsTensorOver(pybind11::handle tensor, PyArrayObject* array, int npy_bfloat16);

// An ndarray over the memory of a tensor that HasExchange; null if that has to be asked for in the
// ordinary way, which says what is wrong. If it is borrowed, the array keeps the tensor, not the
// memory, alive: enough for a call, in less time.
pybind11::object ArrayFromExchange(const char* op, const char* name, pybind11::handle tensor,
                                   bool is_borrowed, int npy_bfloat16);

// `object` has __dlpack__ and __dlpack_device__. Raises if its memory is not the CPU's, or if its
// type is none that kernels know. `npy_bfloat16` is the type number of bfloat16.
pybind11::object ArrayFromDLPack(const char* op, const char* name, pybind11::handle object,
                                 int npy_bfloat16);

}  // namespace slotwise
