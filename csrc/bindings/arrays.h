// NumPy arrays, buffers and DLPack tensors as memory to update in place. Nothing is copied.
#pragma once

#include <pybind11/numpy.h>

#include <string>

#include "core/types.h"

namespace slotwise {

// One array argument of one call. Valid while the argument is.
struct ArrayArgument {
  const char* op;
  const char* name;
  pybind11::array array;
  DType dtype;

  // Takes an ndarray, an exporter of the buffer protocol, or of DLPack on the CPU.
  ArrayArgument(const char* op, const char* name, pybind11::handle object);

  void* data() const { return const_cast<void*>(array.data()); }
  size_t count() const { return static_cast<size_t>(array.size()); }
  size_t bytes() const { return static_cast<size_t>(array.nbytes()); }
  bool contiguous() const;
  StridedArray strided() const;

  // Each raises if the array is not so.
  void RequireLike(const ArrayArgument& var) const;  // dtype and shape
  void RequireUpdatable() const;                     // writable, C-contiguous and aligned
  void RequireApartFrom(const ArrayArgument& other) const;

  // The very elements of `other`, which is contiguous, in the same order.
  bool IsSameMemoryAs(const ArrayArgument& other) const;
};

// Finds the type number of ml_dtypes.bfloat16; called once, when the module is imported.
void LoadBFloat16();

}  // namespace slotwise
