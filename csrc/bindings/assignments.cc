// SPDX-License-Identifier: Apache-2.0
#include "bindings/assignments.h"

#include "bindings/errors.h"

namespace py = pybind11;

namespace slotwise {
namespace {

constexpr const char* kName = "after";

}  // namespace

Assignments::Assignments(const char* op, const py::object& list) {
  if (PyTuple_Check(list.ptr()) == 0) Fail(PyExc_TypeError, op, kName, "a tuple", TypeName(list));
  for (const py::handle item : py::reinterpret_borrow<py::tuple>(list)) {
    RequireTuple(op, kName, 2, item);
    PyObject* const target = PyTuple_GET_ITEM(item.ptr(), 0);
    PyObject* const number = PyTuple_GET_ITEM(item.ptr(), 1);
    const bool is_number = PyArray_Check(target) != 0 && PyArray_NDIM(ArrayOf(target)) == 0 &&
                           PyArray_CHKFLAGS(ArrayOf(target), NPY_ARRAY_CARRAY) &&
                           PyArray_ISNOTSWAPPED(ArrayOf(target));
    if (!is_number) {
      Fail(PyExc_TypeError, op, kName, "writable arrays of rank 0 in native byte order",
           TypeName(target));
    }
    Assignment& assignment = assignments_.emplace_back();
    assignment.array = py::reinterpret_borrow<py::object>(target);
    switch (PyArray_TYPE(ArrayOf(target))) {
      case NPY_INT64:
        assignment.integer = PyLong_AsLongLong(number);
        break;
      case NPY_FLOAT:
      case NPY_DOUBLE:
        assignment.real = PyFloat_AsDouble(number);
        break;
      default:
        Fail(PyExc_TypeError, op, kName, "dtype int64, float32 or float64",
             Text(py::handle(target).attr("dtype")));
    }
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  }
}

void Assignments::Write() const {
  for (const Assignment& assignment : assignments_) {
    void* const data = PyArray_DATA(ArrayOf(assignment.array));
    switch (PyArray_TYPE(ArrayOf(assignment.array))) {
      case NPY_INT64:
        *static_cast<int64_t*>(data) = assignment.integer;
        break;
      case NPY_FLOAT:
        *static_cast<float*>(data) = static_cast<float>(assignment.real);
        break;
      default:
        *static_cast<double*>(data) = assignment.real;
    }
  }
}

}  // namespace slotwise
