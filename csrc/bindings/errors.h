// SPDX-License-Identifier: Apache-2.0
// Errors that name the op, the argument, what was expected and what came.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace slotwise {

[[noreturn]] inline void Fail(PyObject* type, const char* op, const char* argument,
                              const std::string& expected, const std::string& got) {
  const std::string text =
      std::string(op) + ": " + argument + ": expected " + expected + ", got " + got;
  PyErr_SetString(type, text.c_str());
  throw pybind11::error_already_set();
}

inline std::string TypeName(pybind11::handle object) { return Py_TYPE(object.ptr())->tp_name; }

inline pybind11::tuple RequireTuple(const char* op, const char* argument, size_t size,
                                    pybind11::handle object) {
  const std::string expected = "a tuple of " + std::to_string(size);
  if (PyTuple_Check(object.ptr()) == 0) {
    Fail(PyExc_TypeError, op, argument, expected, TypeName(object));
  }
  const auto got = static_cast<size_t>(PyTuple_GET_SIZE(object.ptr()));
  if (got != size) Fail(PyExc_ValueError, op, argument, expected, "one of " + std::to_string(got));
  return pybind11::reinterpret_borrow<pybind11::tuple>(object);
}

// What str() makes of an object, with escapes for what UTF-8 lacks; its type if it has no text.
inline std::string Text(pybind11::handle object) {
  const auto text = pybind11::reinterpret_steal<pybind11::object>(PyObject_Str(object.ptr()));
  const auto bytes = pybind11::reinterpret_steal<pybind11::object>(
      text ? PyUnicode_AsEncodedString(text.ptr(), "utf-8", "backslashreplace") : nullptr);
  if (bytes) return PyBytes_AS_STRING(bytes.ptr());
  if (PyErr_ExceptionMatches(PyExc_Exception) == 0) throw pybind11::error_already_set();
  PyErr_Clear();
  return TypeName(object);
}

}  // namespace slotwise
