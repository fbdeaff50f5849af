// SPDX-License-Identifier: Apache-2.0
// Memory for tables, and objects as arrays.

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "bindings/arrays.h"
#include "bindings/module.h"

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
  memory = std::aligned_alloc(alignment, size);
  if (memory == nullptr) {
    PyErr_NoMemory();
    throw py::error_already_set();
  }
  std::memset(memory, 0, size);
  py::capsule owner(memory, [](void* pointer) { std::free(pointer); });
  npy_intp count = static_cast<npy_intp>(bytes);
  auto array =
      py::reinterpret_steal<py::object>(PyArray_SimpleNewFromData(1, &count, NPY_UINT8, memory));
  if (!array) throw py::error_already_set();
  PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array.ptr()), owner.release().ptr());
  return array;
}

}  // namespace

void BindMemory(py::module_& module) {
  module.def("allocate", &Allocate);
  module.def("as_array", [](const std::string& op, const std::string& name, py::handle value) {
    return AsArray(op.c_str(), name.c_str(), value);
  });
}

}  // namespace slotwise
