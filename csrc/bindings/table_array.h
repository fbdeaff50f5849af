// SPDX-License-Identifier: Apache-2.0
// Arrays of rows, of any dtype, as tables, outputs and updates.
#pragma once

#include <vector>

#include "bindings/arrays.h"
#include "bindings/deferral.h"
#include "bindings/errors.h"

namespace slotwise {

// An array of rows of any dtype that holds no Python objects.
class TableArray : public NamedArray {
 public:
  TableArray(const char* op, const char* name, pybind11::handle object)
      : NamedArray(op, name, AsArray(op, name, object)) {
    RequireRows();
    Deferral::RequireNoneBehind(*this);
    if (PyDataType_REFCHK(PyArray_DESCR(array()))) {
      Fail(PyExc_TypeError, op, name, "a dtype of numbers", DTypeText());
    }
  }

  size_t row_bytes() const {
    size_t bytes = static_cast<size_t>(PyArray_ITEMSIZE(array()));
    for (int d = 1; d < rank(); ++d) bytes *= static_cast<size_t>(dim(d));
    return bytes;
  }
  size_t bytes() const { return static_cast<size_t>(PyArray_NBYTES(array())); }
  void RequireDTypeOf(const TableArray& other) const {
    if (PyArray_EquivTypes(PyArray_DESCR(array()), PyArray_DESCR(other.array())) != 0) return;
    Fail(PyExc_TypeError, op_, name_, "dtype " + other.DTypeText() + " like " + other.name(),
         DTypeText());
  }
};

// The shape first.shape + table.shape[1:].
std::vector<npy_intp> Join(const NamedArray& first, const NamedArray& table);

// A new array of the table's dtype. The memory of a large one is kept for the next when it goes:
// fresh pages would cost as much as filling them.
pybind11::object NewLike(const NamedArray& table, std::vector<npy_intp> shape);

inline void* DataOf(const pybind11::object& array) {
  return PyArray_DATA(reinterpret_cast<PyArrayObject*>(array.ptr()));
}

}  // namespace slotwise
