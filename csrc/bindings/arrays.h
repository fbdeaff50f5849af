// SPDX-License-Identifier: Apache-2.0
// NumPy arrays, buffers and DLPack tensors as memory to update in place. Nothing is copied.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/numpy_api.h"
#include "core/row_groups.h"
#include "core/types.h"

namespace slotwise {

// One array argument of one call; keeps the array alive.
class NamedArray {
 public:
  const char* op() const { return op_; }
  const char* name() const { return name_; }
  PyArrayObject* array() const { return reinterpret_cast<PyArrayObject*>(array_.ptr()); }
  void* data() const { return PyArray_DATA(array()); }
  size_t count() const { return static_cast<size_t>(PyArray_SIZE(array())); }
  int rank() const { return PyArray_NDIM(array()); }
  int64_t dim(int d) const { return PyArray_DIM(array(), d); }
  // The shape of so many rows of this array.
  std::vector<npy_intp> ShapeOfRows(size_t rows) const;
  // Elements of a row; 0 if there are no rows.
  size_t width() const { return dim(0) == 0 ? 0 : count() / static_cast<size_t>(dim(0)); }
  bool Has(int flags) const { return (PyArray_FLAGS(array()) & flags) == flags; }

  // First and one-past-last address; equal if the array is empty.
  std::pair<const char*, const char*> Extent() const;

  std::string DTypeText() const;
  std::string ShapeText() const;

  // Each raises if the array is not so. `like` says why that shape is expected.
  void RequireShape(const std::vector<npy_intp>& shape, const std::string& like) const;
  void RequireShapeOf(const NamedArray& other) const;
  void RequireRows() const;        // a rank of 1 at least
  void RequireVector() const;      // a rank of 1
  void RequireContiguous() const;  // C-contiguous and aligned
  void RequireUpdatable() const;   // the same, and writable
  void RequireApartFrom(const NamedArray& other) const;

  // Replaces the array by a copy of its own, in C order.
  void Copy();

 protected:
  NamedArray(const char* op, const char* name, pybind11::object array)
      : op_(op), name_(name), array_(std::move(array)) {}

  // Replaces the array by a copy in C order, if it is not in that order.
  void MakeContiguous();

  const char* op_;
  const char* name_;
  pybind11::object array_;
};

// Where an array's elements were, and what they were, when it was checked: NumPy lets a program
// move or reshape an array in place.
class Pinned {
 public:
  Pinned() = default;
  explicit Pinned(const NamedArray& array);

  // Whether this array has just that memory, shape and dtype, and may be written to.
  bool Is(PyArrayObject* array) const {
    const npy_intp* const shape = rank_ <= kNear ? near_.data() : far_.data();
    return PyArray_DATA(array) == data_ && PyArray_NDIM(array) == rank_ &&
           std::equal(shape, shape + rank_, PyArray_DIMS(array)) &&
           PyArray_CHKFLAGS(array, NPY_ARRAY_CARRAY) && PyArray_TYPE(array) == type_ &&
           PyArray_ISNOTSWAPPED(array);
  }

  // Raises if the array is not so.
  void Require(const NamedArray& array) const;

 private:
  static constexpr int kNear = 4;  // a longer shape is a cache miss away

  void* data_ = nullptr;
  int type_ = -1, rank_ = 0;
  std::array<npy_intp, kNear> near_{};
  std::vector<npy_intp> far_;
};

// Whether it is a tensor of a type that tells its memory in a call of C, as PyTorch's do.
bool IsExchanged(pybind11::handle object);
// Whether such a tensor lies in just the memory of a contiguous array, with its shape and dtype.
bool LiesIn(pybind11::handle tensor, PyArrayObject* array);

// The ndarray that `object` is or exports, by the buffer protocol or by DLPack on the CPU. It may
// be borrowed for a call.
pybind11::object AsArray(const char* op, const char* name, pybind11::handle object,
                         bool is_borrowed = false);

// An array of float16, bfloat16, float32 or float64.
class ArrayArgument : public NamedArray {
 public:
  ArrayArgument(const char* op, const char* name, pybind11::handle object,
                bool is_borrowed = false);

  DType dtype() const { return dtype_; }
  size_t bytes() const { return count() * SizeOf(dtype_); }
  StridedArray strided() const;

  // Makes rows contiguous in themselves, by a copy if need be, which is for reading only.
  void MakeRowsContiguous();
  // How many elements it is from one row to the next.
  int64_t RowStride() const;

  void RequireDTypeOf(const ArrayArgument& other) const;

  // Whether these are the very elements of `other`, which is contiguous, in the same order.
  bool IsSameMemoryAs(const ArrayArgument& other) const {
    return data() == other.data() && Has(NPY_ARRAY_C_CONTIGUOUS);
  }

 private:
  DType dtype_;
};

// The dtype, if it is one that rules are computed on.
std::optional<DType> FloatTypeOf(PyArrayObject* array);

// An array of int32 or int64, contiguous (copied if it is not).
class IntegerArray : public NamedArray {
 public:
  IntegerArray(const char* op, const char* name, pybind11::handle object);

  RowIds ids() const { return {data(), PyArray_ITEMSIZE(array()) == 8, count()}; }

  // What errors call the element at a position in C order: "indices[1,0]", say.
  std::string ElementName(size_t position) const;

  // Raises an error that says that the id at this position is not one of so many rows.
  [[noreturn]] void FailOutside(size_t position, int64_t rows) const;
  // Raises it if any id is not.
  void RequireInside(int64_t rows) const;
};

// Imports NumPy's C API and finds ml_dtypes.bfloat16. Called once, when the module is imported.
void ImportNumpy();

}  // namespace slotwise
