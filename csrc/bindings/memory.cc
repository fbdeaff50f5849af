// SPDX-License-Identifier: Apache-2.0
// Memory for tables, and objects as arrays.

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "core/aligned.h"

namespace py = pybind11;

namespace slotwise {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// Zeroed memory as a uint8 array: whole pages that ask to be huge ones if it is large.
py::object Allocate(const py::int_& wanted) {
  const size_t bytes = PyLong_AsSize_t(wanted.ptr());
  if (PyErr_Occurred() != nullptr || bytes > (size_t{1} << 62)) {
    PyErr_Clear();
    PyErr_NoMemory();
    throw py::error_already_set();
  }

  const bool is_large = bytes >= kHugePage;
  const size_t alignment = is_large ? kHugePage : 64;
  const size_t size = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* memory = nullptr;
#if defined(__linux__)
  if (is_large) {
    memory = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      PyErr_NoMemory();
      throw py::error_already_set();
    }
    const auto start = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
    madvise(reinterpret_cast<void*>(aligned), size, MADV_HUGEPAGE);  // a wish: no error if refused
    struct Mapping {
      void* memory;
      size_t size;
    };
    auto owned = std::make_unique<Mapping>(Mapping{memory, size + kHugePage});
    py::capsule owner(owned.get(), [](void* pointer) {
      const std::unique_ptr<Mapping> mapping(static_cast<Mapping*>(pointer));
      munmap(mapping->memory, mapping->size);
    });
    static_cast<void>(owned.release());  // it is the capsule's
    npy_intp count = static_cast<npy_intp>(bytes);
    auto array = py::reinterpret_steal<py::object>(
        PyArray_SimpleNewFromData(1, &count, NPY_UINT8, reinterpret_cast<void*>(aligned)));
    if (!array) throw py::error_already_set();
    PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array.ptr()), owner.release().ptr());
    return array;
  }
#endif
  memory = AllocateAligned(alignment, size);
  if (memory == nullptr) {
    PyErr_NoMemory();
    throw py::error_already_set();
  }
  std::memset(memory, 0, size);
  py::capsule owner(memory, [](void* pointer) { FreeAligned(pointer); });
  npy_intp count = static_cast<npy_intp>(bytes);
  auto array =
      py::reinterpret_steal<py::object>(PyArray_SimpleNewFromData(1, &count, NPY_UINT8, memory));
  if (!array) throw py::error_already_set();
  PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array.ptr()), owner.release().ptr());
  return array;
}

// Whether each tensor, and after it those of these names in its state, lie in just the memory of
// the arrays, in that order.
bool AreHeld(const py::list& tensors, const py::list& states, const py::tuple& names,
             const py::list& arrays) {
  if (states.size() != tensors.size() || arrays.size() != tensors.size() * (1 + names.size())) {
    return false;
  }
  Py_ssize_t next = 0;
  const auto lies_in_next = [&](py::handle tensor) {
    const py::handle array = PyList_GET_ITEM(arrays.ptr(), next++);
    return IsExchanged(tensor) && PyArray_Check(array.ptr()) != 0 && LiesIn(tensor, ArrayOf(array));
  };
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(tensors.ptr()); ++i) {
    if (!lies_in_next(PyList_GET_ITEM(tensors.ptr(), i))) return false;
    PyObject* const state = PyList_GET_ITEM(states.ptr(), i);
    if (PyDict_Check(state) == 0) return false;
    for (const py::handle name : names) {
      PyObject* const tensor = PyDict_GetItemWithError(state, name.ptr());
      if (tensor == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
      if (tensor == nullptr || !lies_in_next(tensor)) return false;
    }
  }
  return true;
}

// Whether each of these arrays holds one number, float32 or float64, which is that one.
bool AreAll(const py::list& numbers, double value) {
  return std::all_of(numbers.begin(), numbers.end(), [&](py::handle number) {
    if (PyArray_Check(number.ptr()) == 0 || PyArray_SIZE(ArrayOf(number)) != 1) return false;
    const void* const data = PyArray_DATA(ArrayOf(number));
    switch (PyArray_TYPE(ArrayOf(number))) {
      case NPY_FLOAT:
        return static_cast<double>(*static_cast<const float*>(data)) == value;
      case NPY_DOUBLE:
        return *static_cast<const double*>(data) == value;
      default:
        return false;
    }
  });
}

}  // namespace

void BindMemory(py::module_& module) {
  module.def("allocate", &Allocate);
  module.def("as_array", [](const std::string& op, const std::string& name, py::handle value) {
    return AsArray(op.c_str(), name.c_str(), value);
  });
  module.def("are_held", &AreHeld, py::arg("tensors"), py::arg("states"), py::arg("names"),
             py::arg("arrays"));
  module.def("are_all", &AreAll, py::arg("numbers"), py::arg("value"));
}

}  // namespace slotwise
