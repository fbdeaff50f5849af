// SPDX-License-Identifier: Apache-2.0
#include "bindings/numbers_by_type.h"

#include <string>

#include "bindings/errors.h"

namespace py = pybind11;

namespace slotwise {

NumbersByType::NumbersByType(const char* op, const char* argument, const Hyper* hypers,
                             bool is_scaled, const py::object& lists)
    : op_(op), argument_(argument) {
  size_t count = 0;
  while (hypers[count].name != nullptr) ++count;
  RequireTuple(op, argument, 2, lists);
  for (size_t i = 0; i < 2; ++i) {
    PyObject* const list = PyTuple_GET_ITEM(lists.ptr(), static_cast<Py_ssize_t>(i));
    if (list == Py_None) continue;
    RequireTuple(op, argument, count, list);
    numbers_[i] = ParseHypers(op, hypers, /*is_sparse=*/false, is_scaled,
                              i == 0 ? DType::kF32 : DType::kF64, PySequence_Fast_ITEMS(list));
    is_given_[i] = true;
  }
}

void NumbersByType::Require(DType dtype) const {
  if (is_given_[Index(dtype)]) return;
  Fail(PyExc_ValueError, op_, argument_, "numbers for every dtype of a variable", "None");
}

}  // namespace slotwise
