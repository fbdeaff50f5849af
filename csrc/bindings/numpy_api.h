// SPDX-License-Identifier: Apache-2.0
// NumPy's C API, included this way by every file that uses it. (pybind11's py::array looks its own
// copy of the API up on every call, which would cost as much as a small update.)
#pragma once

#include <pybind11/pybind11.h>  // Python.h comes first

#define PY_ARRAY_UNIQUE_SYMBOL slotwise_numpy_api
#ifndef SLOTWISE_IMPORT_NUMPY_API  // defined by the one file that calls import_array
#define NO_IMPORT_ARRAY
#endif
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#include <numpy/arrayobject.h>

namespace slotwise {

inline PyArrayObject* ArrayOf(pybind11::handle object) {
  return reinterpret_cast<PyArrayObject*>(object.ptr());
}

}  // namespace slotwise
