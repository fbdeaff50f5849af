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

inline std::string Text(pybind11::handle object) {
  return pybind11::str(object).cast<std::string>();
}

}  // namespace slotwise
