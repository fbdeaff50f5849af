// An ndarray over the memory of a DLPack tensor (https://dmlc.github.io/dlpack/). NumPy's own
// from_dlpack knows no bfloat16 and makes writable tensors read-only.
#pragma once

#include <pybind11/numpy.h>

namespace slotwise {

// `object` has __dlpack__ and __dlpack_device__. Raises if its memory is not the CPU's.
pybind11::array ArrayFromDLPack(const char* op, const char* name, pybind11::handle object,
                                const pybind11::dtype& bfloat16);

}  // namespace slotwise
