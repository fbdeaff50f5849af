// SPDX-License-Identifier: Apache-2.0
#include "bindings/dlpack.h"

#include <algorithm>
#include <string>
#include <vector>

#include "bindings/errors.h"
#include "bindings/numpy_api.h"
#include "core/types.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// The structures of DLPack's C ABI, as its specification fixes them.
enum DeviceType : int32_t { kDeviceCpu = 1 };
enum TypeCode : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBFloat = 4, kComplex = 5, kBool = 6 };
constexpr uint32_t kMajorVersion = 1;  // what the layout below is of
constexpr uint64_t kFlagReadOnly = 1;

struct Tensor {
  void* data;
  struct {
    int32_t type;
    int32_t id;
  } device;
  int32_t rank;
  struct {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
  } dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null if contiguous
  uint64_t byte_offset;
};

struct Managed {
  static constexpr const char* kName = "dltensor";
  static constexpr const char* kUsedName = "used_dltensor";
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);

  bool is_known() const { return true; }
  bool read_only() const { return false; }
};

struct ManagedVersioned {
  static constexpr const char* kName = "dltensor_versioned";
  static constexpr const char* kUsedName = "used_dltensor_versioned";
  struct {
    uint32_t major;
    uint32_t minor;
  } version;
  void* context;
  void (*deleter)(ManagedVersioned*);
  uint64_t flags;
  Tensor tensor;

  bool is_known() const { return version.major == kMajorVersion; }
  bool read_only() const { return (flags & kFlagReadOnly) != 0; }
};

// The type number of NumPy for a tensor's type, or -1.
int TypeNumber(const Tensor& t, int npy_bfloat16) {
  if (t.dtype.lanes != 1) return -1;
  if (t.dtype.code == kBFloat && t.dtype.bits == 16) return npy_bfloat16;
  static constexpr struct {
    uint8_t code, bits;
    int number;
  } kTypes[] = {
      {kInt, 8, NPY_INT8},           {kInt, 16, NPY_INT16},          {kInt, 32, NPY_INT32},
      {kInt, 64, NPY_INT64},         {kUInt, 8, NPY_UINT8},          {kUInt, 16, NPY_UINT16},
      {kUInt, 32, NPY_UINT32},       {kUInt, 64, NPY_UINT64},        {kFloat, 16, NPY_HALF},
      {kFloat, 32, NPY_FLOAT},       {kFloat, 64, NPY_DOUBLE},       {kBool, 8, NPY_BOOL},
      {kComplex, 64, NPY_COMPLEX64}, {kComplex, 128, NPY_COMPLEX128}};
  for (const auto& type : kTypes) {
    if (t.dtype.code == type.code && t.dtype.bits == type.bits) return type.number;
  }
  return -1;
}

// Raises if the tensor is not what it says it is, as far as that shows.
void RequireSound(const char* op, const char* name, const Tensor& t) {
  const auto require = [&](bool is_so, const char* expected, const std::string& got) {
    if (!is_so) Fail(PyExc_ValueError, op, name, std::string("a DLPack tensor ") + expected, got);
  };
  require(t.device.type == kDeviceCpu, "on the CPU, as its device says",
          "one of device type " + std::to_string(t.device.type));
  require(t.rank >= 0 && t.rank <= kMaxRank, "of rank 0 to 64", "rank " + std::to_string(t.rank));
  require(t.rank == 0 || t.shape != nullptr, "with a shape", "none");
  int64_t bytes = t.dtype.bits / 8;
  for (int d = 0; d < t.rank; ++d) {
    require(t.shape[d] >= 0, "of sizes >= 0", std::to_string(t.shape[d]));
  }
  const bool is_empty = std::find(t.shape, t.shape + t.rank, 0) != t.shape + t.rank;
  for (int d = 0; d < t.rank && !is_empty; ++d) {
    require(!__builtin_mul_overflow(bytes, t.shape[d], &bytes), "that fits into memory",
            "sizes whose product is too large");
    int64_t reach = 0;
    require(t.strides == nullptr ||
                !__builtin_mul_overflow(t.strides[d], t.shape[d] * (t.dtype.bits / 8), &reach),
            "that fits into memory", "a stride that is too large");
  }
  require(is_empty || t.data != nullptr, "with elements", "a null pointer");
}

template <class M>
py::object Adopt(const char* op, const char* name, py::capsule capsule, int npy_bfloat16) {
  M* managed = capsule.get_pointer<M>();
  if (!managed->is_known()) {
    Fail(PyExc_ValueError, op, name, "DLPack of version 1", "another version");
  }
  const Tensor& t = managed->tensor;
  const int number = TypeNumber(t, npy_bfloat16);
  if (number < 0) {
    Fail(PyExc_TypeError, op, name, "a dtype that NumPy or ml_dtypes has",
         "a DLPack tensor of type code " + std::to_string(t.dtype.code) + " with " +
             std::to_string(t.dtype.bits) + " bits");
  }
  RequireSound(op, name, t);
  PyArray_Descr* descr = PyArray_DescrFromType(number);
  std::vector<npy_intp> shape(t.shape, t.shape + t.rank);
  std::vector<npy_intp> strides(shape.size());
  npy_intp contiguous = t.dtype.bits / 8;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = t.strides == nullptr ? contiguous : t.strides[d] * (t.dtype.bits / 8);
    contiguous *= shape[d];
  }
  auto array = py::reinterpret_steal<py::object>(
      PyArray_NewFromDescr(&PyArray_Type, descr, t.rank, shape.data(), strides.data(),
                           t.data == nullptr ? nullptr : static_cast<char*>(t.data) + t.byte_offset,
                           managed->read_only() ? 0 : NPY_ARRAY_WRITEABLE, nullptr));
  if (!array) throw py::error_already_set();
  // From here on the array's base owns the tensor.
  capsule.set_name(M::kUsedName);
  py::capsule owner(managed, [](void* pointer) {
    M* owned = static_cast<M*>(pointer);
    if (owned->deleter != nullptr) owned->deleter(owned);
  });
  if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array.ptr()), owner.release().ptr()) !=
      0) {
    throw py::error_already_set();
  }
  return array;
}

}  // namespace

py::object ArrayFromDLPack(const char* op, const char* name, py::handle object, int npy_bfloat16) {
  const py::object device = object.attr("__dlpack_device__")();
  const bool is_pair = PyTuple_Check(device.ptr()) != 0 && PyTuple_GET_SIZE(device.ptr()) == 2;
  if (!is_pair || !py::make_tuple(static_cast<int>(kDeviceCpu))[0].equal(py::tuple(device)[0])) {
    Fail(PyExc_ValueError, op, name, "memory on the CPU", "DLPack device " + Text(device));
  }
  py::object exported;
  try {
    exported = object.attr("__dlpack__")(py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;
    exported = object.attr("__dlpack__")();  // a producer from before DLPack 1.0
  }
  if (PyCapsule_IsValid(exported.ptr(), ManagedVersioned::kName) != 0) {
    return Adopt<ManagedVersioned>(op, name, exported, npy_bfloat16);
  }
  if (PyCapsule_IsValid(exported.ptr(), Managed::kName) != 0) {
    return Adopt<Managed>(op, name, exported, npy_bfloat16);
  }
  if (PyCapsule_CheckExact(exported.ptr()) != 0) {
    Fail(PyExc_ValueError, op, name, "a DLPack tensor", "one that was consumed before");
  }
  Fail(PyExc_TypeError, op, name, "a capsule from __dlpack__", TypeName(exported));
}

}  // namespace slotwise
