// NumPy arrays, buffers and DLPack tensors as memory to update in place. Nothing is copied.
#pragma once

#include "bindings/numpy_api.h"
#include "core/types.h"

namespace slotwise {

// One array argument of one call; keeps the array alive.
class ArrayArgument {
 public:
  // Takes an ndarray, or an exporter of the buffer protocol, or of DLPack on the CPU.
  ArrayArgument(const char* op, const char* name, pybind11::handle object);

  DType dtype() const { return dtype_; }
  void* data() const { return PyArray_DATA(array()); }
  size_t count() const { return static_cast<size_t>(PyArray_SIZE(array())); }
  size_t bytes() const { return count() * SizeOf(dtype_); }
  StridedArray strided() const;

  // Each raises if the array is not so.
  void RequireLike(const ArrayArgument& var) const;  // dtype and shape
  void RequireUpdatable() const;                     // writable, C-contiguous and aligned
  void RequireApartFrom(const ArrayArgument& other) const;

  // The very elements of `other`, which is contiguous, in the same order.
  bool IsSameMemoryAs(const ArrayArgument& other) const {
    return data() == other.data() && Has(NPY_ARRAY_C_CONTIGUOUS);
  }

 private:
  PyArrayObject* array() const { return reinterpret_cast<PyArrayObject*>(array_.ptr()); }
  bool Has(int flags) const { return (PyArray_FLAGS(array()) & flags) == flags; }

  const char* op_;
  const char* name_;
  pybind11::object array_;
  DType dtype_;
};

// Imports NumPy's C API and finds ml_dtypes.bfloat16; once, when the module is imported.
void ImportNumpy();

}  // namespace slotwise
