// SPDX-License-Identifier: Apache-2.0
// An ndarray over the memory of a DLPack tensor (https://dmlc.github.io/dlpack/). NumPy's own
// from_dlpack knows no bfloat16 and makes writable tensors read-only.
#pragma once

#include <pybind11/pybind11.h>

namespace slotwise {

// `object` has __dlpack__ and __dlpack_device__. Raises if its memory is not the CPU's, or if its
// type is none that kernels know. `npy_bfloat16` is the type number of bfloat16.
pybind11::object ArrayFromDLPack(const char* op, const char* name, pybind11::handle object,
                                 int npy_bfloat16);

}  // namespace slotwise
