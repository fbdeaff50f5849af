// SPDX-License-Identifier: Apache-2.0
#include "bindings/scalars.h"

#include <cmath>
#include <limits>
#include <string>

#include "bindings/errors.h"

namespace py = pybind11;

namespace slotwise {
namespace {

bool IsNumpyBool(py::handle object) {
  return std::string(Py_TYPE(object.ptr())->tp_name).rfind("numpy.bool", 0) == 0;
}

void RequireRankZero(const char* op, const char* name, py::handle object) {
  if (!py::hasattr(object, "shape")) return;
  const py::object shape = object.attr("shape");
  const Py_ssize_t rank = PyObject_Size(shape.ptr());
  if (rank < 0) {
    if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
    PyErr_Clear();
    Fail(PyExc_TypeError, op, name, "a scalar", TypeName(object) + " of no known shape");
  }
  if (rank != 0) {
    Fail(PyExc_ValueError, op, name, "a scalar", "an array of shape " + Text(shape));
  }
}

double ParseReal(const char* op, const char* name, py::handle object) {
  // Not only floats: NumPy's float64 scalars are their subclass.
  if (PyFloat_Check(object.ptr())) return PyFloat_AS_DOUBLE(object.ptr());
  if (PyLong_CheckExact(object.ptr())) {
    const double value = PyLong_AsDouble(object.ptr());
    if (value != -1 || PyErr_Occurred() == nullptr) return value;
    PyErr_Clear();
    Fail(PyExc_ValueError, op, name, "a number that float64 can hold", "a larger integer");
  }
  RequireRankZero(op, name, object);
  const py::object kind = py::getattr(py::getattr(object, "dtype", py::none()), "kind", py::none());
  const bool is_real_dtype =
      kind.is_none() || std::string("fiuV").find(kind.cast<std::string>()) != std::string::npos;
  const bool is_number = PyNumber_Check(object.ptr()) != 0 && !PyComplex_Check(object.ptr());
  if (!is_number || !is_real_dtype || PyBool_Check(object.ptr())) {
    Fail(PyExc_TypeError, op, name, "a real number",
         TypeName(object) + (kind.is_none() ? "" : " of dtype " + Text(object.attr("dtype"))));
  }
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1 && PyErr_Occurred() != nullptr) {
    const py::error_already_set error;
    Fail(PyExc_TypeError, op, name, "a real number",
         TypeName(object) + " (" + Text(error.value()) + ")");
  }
  return value;
}

// As TensorFlow does, the step goes through float32 for every dtype.
double ParseInteger(const char* op, const char* name, py::handle object) {
  if (PyLong_CheckExact(object.ptr()) == 0) RequireRankZero(op, name, object);
  if (PyIndex_Check(object.ptr()) == 0 || PyBool_Check(object.ptr())) {
    Fail(PyExc_TypeError, op, name, "an integer", TypeName(object));
  }
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
  if (!index) {
    PyErr_Clear();
    Fail(PyExc_TypeError, op, name, "an integer", TypeName(object));
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0) Fail(PyExc_ValueError, op, name, "a 64-bit integer", Text(index));
  return static_cast<double>(static_cast<float>(value));
}

bool IsIn(Range range, bool is_scaled, double value) {
  switch (range) {
    case Range::kFinite:
      return std::isfinite(value);
    case Range::kPositive:
      return value > 0;
    case Range::kPositiveOrScaled:
      return value > 0 || (value == 0 && is_scaled);
    case Range::kNonNegative:
      return value >= 0;
    case Range::kNotPositive:
      return value <= 0 && std::isfinite(value);
    case Range::kAtMostOne:
      return value <= 1;
    default:
      return !std::isnan(value);
  }
}

}  // namespace

const char* Requirement(Range range) {
  switch (range) {
    case Range::kFinite:
      return "a finite number";
    case Range::kPositive:
      return "a number > 0";
    case Range::kPositiveOrScaled:
      return "a number > 0 (or 0 with multiply_linear_by_lr)";
    case Range::kNonNegative:
      return "a number >= 0";
    case Range::kNotPositive:
      return "a finite number <= 0";
    case Range::kAtMostOne:
      return "a number <= 1";
    case Range::kInteger:
      return "an integer";
    default:
      return "a number";
  }
}

double ParseHyper(const char* op, const char* name, Range range, bool is_scaled, DType dtype,
                  py::handle object) {
  if (range == Range::kInteger) return ParseInteger(op, name, object);
  double value = ParseReal(op, name, object);
  const double smallest =
      dtype == DType::kF64 ? std::numeric_limits<double>::min() : std::numeric_limits<float>::min();
  const double rounded = Rounded(dtype, value);
  if (std::fabs(rounded) < smallest) value = std::copysign(0.0, value);  // as denormals in arrays
  if (!IsIn(range, is_scaled, Rounded(dtype, value))) {
    Fail(PyExc_ValueError, op, name, Requirement(range), Text(object));
  }
  if (!IsIn(range, is_scaled, value)) value = rounded;  // 1 + 1e-12, of at most 1
  return value;
}

bool ParseAttr(const char* op, const char* name, py::handle object) {
  if (object.is(py::handle(Py_False))) return false;
  if (object.is(py::handle(Py_True))) return true;
  if (!IsNumpyBool(object)) Fail(PyExc_TypeError, op, name, "a bool", TypeName(object));
  return PyObject_IsTrue(object.ptr()) == 1;
}

}  // namespace slotwise
