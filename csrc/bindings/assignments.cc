// SPDX-License-Identifier: Apache-2.0
#include "bindings/assignments.h"

#include <algorithm>

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
    const py::handle target = PyTuple_GET_ITEM(item.ptr(), 0);
    const py::handle number = PyTuple_GET_ITEM(item.ptr(), 1);
    if (PyList_Check(target.ptr()) == 0) {
      Add(op, target, number);
    } else {
      for (const py::handle each : py::reinterpret_borrow<py::list>(target)) Add(op, each, number);
    }
  }
}

void Assignments::Add(const char* op, py::handle target, py::handle number) {
  PyObject* const array = target.ptr();
  const bool is_plain = PyArray_Check(array) != 0 &&
                        PyArray_CHKFLAGS(ArrayOf(array), NPY_ARRAY_CARRAY) &&
                        PyArray_ISNOTSWAPPED(ArrayOf(array));
  if (!is_plain) {
    Fail(PyExc_TypeError, op, kName, "contiguous, writable arrays in native byte order",
         TypeName(target));
  }
  Assignment& assignment = assignments_.emplace_back();
  assignment.array = py::reinterpret_borrow<py::object>(target);
  switch (PyArray_TYPE(ArrayOf(array))) {
    case NPY_INT64:
      assignment.integer = PyLong_AsLongLong(number.ptr());
      break;
    case NPY_FLOAT:
    case NPY_DOUBLE:
      assignment.real = PyFloat_AsDouble(number.ptr());
      break;
    default:
      Fail(PyExc_TypeError, op, kName, "dtype int64, float32 or float64",
           Text(target.attr("dtype")));
  }
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
}

void Assignments::Write() const {
  for (const Assignment& assignment : assignments_) {
    void* const data = PyArray_DATA(ArrayOf(assignment.array));
    const npy_intp count = PyArray_SIZE(ArrayOf(assignment.array));
    switch (PyArray_TYPE(ArrayOf(assignment.array))) {
      case NPY_INT64:
        std::fill_n(static_cast<int64_t*>(data), count, assignment.integer);
        break;
      case NPY_FLOAT:
        std::fill_n(static_cast<float*>(data), count, static_cast<float>(assignment.real));
        break;
      default:
        std::fill_n(static_cast<double*>(data), count, assignment.real);
    }
  }
}

}  // namespace slotwise
