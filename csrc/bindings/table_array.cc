// SPDX-License-Identifier: Apache-2.0
#include "bindings/table_array.h"

#include <memory>

#include "core/scratch.h"

namespace py = pybind11;

namespace slotwise {

std::vector<npy_intp> Join(const NamedArray& first, const NamedArray& table) {
  std::vector<npy_intp> shape(PyArray_DIMS(first.array()),
                              PyArray_DIMS(first.array()) + first.rank());
  shape.insert(shape.end(), PyArray_DIMS(table.array()) + 1,
               PyArray_DIMS(table.array()) + table.rank());
  return shape;
}

constexpr size_t kMinBytesToKeep = 256 << 10;

py::object NewLike(const NamedArray& table, std::vector<npy_intp> shape) {
  PyArray_Descr* const descr = PyArray_DESCR(table.array());
  size_t bytes = static_cast<size_t>(PyArray_ITEMSIZE(table.array()));
  for (npy_intp size : shape) bytes *= static_cast<size_t>(size);
  void* data = nullptr;  // NumPy's own memory
  py::object owner;
  if (bytes >= kMinBytesToKeep) {
    auto memory = std::make_unique<Scratch>(bytes);
    data = memory->Take<char>(bytes);
    owner = py::capsule(memory.get(), [](void* scratch) { delete static_cast<Scratch*>(scratch); });
    static_cast<void>(memory.release());  // it is the capsule's
  }
  Py_INCREF(descr);
  auto array = py::reinterpret_steal<py::object>(
      PyArray_NewFromDescr(&PyArray_Type, descr, static_cast<int>(shape.size()), shape.data(),
                           nullptr, data, data == nullptr ? 0 : NPY_ARRAY_CARRAY, nullptr));
  if (!array) throw py::error_already_set();
  if (owner && PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array.ptr()),
                                     owner.release().ptr()) != 0) {
    throw py::error_already_set();
  }
  return array;
}

}  // namespace slotwise
