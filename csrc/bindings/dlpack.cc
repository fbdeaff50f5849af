// SPDX-License-Identifier: Apache-2.0
#include "bindings/dlpack.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

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
  const auto fail = [&](const char* expected, const std::string& got) {
    Fail(PyExc_ValueError, op, name, std::string("a DLPack tensor ") + expected, got);
  };
  if (t.device.type != kDeviceCpu) {
    fail("on the CPU, as its device says", "one of device type " + std::to_string(t.device.type));
  }
  if (t.rank < 0 || t.rank > kMaxRank) fail("of rank 0 to 64", "rank " + std::to_string(t.rank));
  if (t.rank != 0 && t.shape == nullptr) fail("with a shape", "none");
  int64_t bytes = t.dtype.bits / 8;
  for (int d = 0; d < t.rank; ++d) {
    if (t.shape[d] < 0) fail("of sizes >= 0", std::to_string(t.shape[d]));
  }
  const bool is_empty = std::find(t.shape, t.shape + t.rank, 0) != t.shape + t.rank;
  for (int d = 0; d < t.rank && !is_empty; ++d) {
    if (__builtin_mul_overflow(bytes, t.shape[d], &bytes)) {
      fail("that fits into memory", "sizes whose product is too large");
    }
    int64_t reach = 0;
    if (t.strides != nullptr &&
        __builtin_mul_overflow(t.strides[d], t.shape[d] * (t.dtype.bits / 8), &reach)) {
      fail("that fits into memory", "a stride that is too large");
    }
  }
  if (!is_empty && t.data == nullptr) fail("with elements", "a null pointer");
}

// The functions for tensors of one type.
struct Exchange {
  static constexpr const char* kName = "dlpack_exchange_api";
  struct {
    uint32_t major;
    uint32_t minor;
  } version;
  const Exchange* older;
  void (*allocate)();
  int (*managed_of)(void* object, ManagedVersioned** out);
  void (*object_of)();
  int (*tensor_of)(void* object, Tensor* out);
};

// Those of an object's type; null if it has none that are known.
const Exchange* ExchangeOf(py::handle object) {
  static PyObject* const name = PyUnicode_InternFromString("__dlpack_c_exchange_api__");
  PyObject* const capsule = _PyType_Lookup(Py_TYPE(object.ptr()), name);  // no error to clear
  if (capsule == nullptr || PyCapsule_IsValid(capsule, Exchange::kName) == 0) return nullptr;
  const auto* exchange =
      static_cast<const Exchange*>(PyCapsule_GetPointer(capsule, Exchange::kName));
  while (exchange != nullptr && exchange->version.major != kMajorVersion) {
    exchange = exchange->older;
  }
  return exchange;
}

// An array over the memory of a tensor, which its base keeps there.
py::object ArrayOver(const char* op, const char* name, const Tensor& t, bool is_writable,
                     py::object base, int npy_bfloat16) {
  const int number = TypeNumber(t, npy_bfloat16);
  if (number < 0) {
    Fail(PyExc_TypeError, op, name, "a dtype that NumPy or ml_dtypes has",
         "a DLPack tensor of type code " + std::to_string(t.dtype.code) + " with " +
             std::to_string(t.dtype.bits) + " bits");
  }
  RequireSound(op, name, t);
  std::array<npy_intp, kMaxRank> strides;
  const npy_intp item = t.dtype.bits / 8;
  npy_intp contiguous = item;
  for (int d = t.rank; d-- > 0;) {
    strides[d] = t.strides == nullptr ? contiguous : t.strides[d] * item;
    contiguous *= t.shape[d];
  }
  static_assert(sizeof(npy_intp) == sizeof(int64_t), "64-bit platforms only");
  auto array = py::reinterpret_steal<py::object>(PyArray_NewFromDescr(
      &PyArray_Type, PyArray_DescrFromType(number), t.rank, reinterpret_cast<npy_intp*>(t.shape),
      strides.data(), t.data == nullptr ? nullptr : static_cast<char*>(t.data) + t.byte_offset,
      is_writable ? NPY_ARRAY_WRITEABLE : 0, nullptr));
  if (!array || PyArray_SetBaseObject(ArrayOf(array), base.release().ptr()) != 0) {
    throw py::error_already_set();
  }
  return array;
}

// An array that owns the tensor from here on, also if there is an error.
template <class M>
py::object Adopt(const char* op, const char* name, M* managed, int npy_bfloat16) {
  py::capsule owner(managed, [](void* pointer) {
    M* const owned = static_cast<M*>(pointer);
    if (owned->deleter != nullptr) owned->deleter(owned);
  });
  if (!managed->is_known()) {
    Fail(PyExc_ValueError, op, name, "DLPack of version 1", "another version");
  }
  return ArrayOver(op, name, managed->tensor, !managed->read_only(), std::move(owner),
                   npy_bfloat16);
}

template <class M>
py::object AdoptCapsule(const char* op, const char* name, const py::capsule& capsule,
                        int npy_bfloat16) {
  M* const managed = capsule.get_pointer<M>();
  PyCapsule_SetName(capsule.ptr(), M::kUsedName);  // it no longer owns the tensor
  return Adopt(op, name, managed, npy_bfloat16);
}

bool IsContiguous(const Tensor& t) {
  int64_t stride = 1;
  for (int d = t.rank; t.strides != nullptr && d-- > 0; stride *= t.shape[d]) {
    if (t.shape[d] != 1 && t.strides[d] != stride) return false;
  }
  return true;
}

// Leaves it to a slower way, except an interrupt or the like.
void ClearError() {
  if (PyErr_Occurred() != nullptr && PyErr_ExceptionMatches(PyExc_Exception) == 0) {
    throw py::error_already_set();
  }
  PyErr_Clear();
}

}  // namespace

bool HasExchange(py::handle object) { return ExchangeOf(object) != nullptr; }

bool IsTensorOver(py::handle tensor, PyArrayObject* array, int npy_bfloat16) {
  Tensor t{};
  if (ExchangeOf(tensor)->tensor_of(tensor.ptr(), &t) != 0) {
    ClearError();
    return false;
  }
  const bool is_empty = PyArray_SIZE(array) == 0;  // which has no address of its own
  return (is_empty || static_cast<char*>(t.data) + t.byte_offset == PyArray_BYTES(array)) &&
         t.device.type == kDeviceCpu && t.rank == PyArray_NDIM(array) &&
         std::equal(t.shape, t.shape + t.rank, PyArray_DIMS(array)) &&
         TypeNumber(t, npy_bfloat16) == PyArray_TYPE(array) && IsContiguous(t);
}

py::object ArrayFromExchange(const char* op, const char* name, py::handle tensor, bool is_borrowed,
                             int npy_bfloat16) {
  static PyObject* const requires_grad = PyUnicode_InternFromString("requires_grad");
  static PyObject* const is_neg = PyUnicode_InternFromString("is_neg");
  // (A tensor of a graph is refused in the ordinary way: what is done to it is not recorded.)
  if (py::getattr(tensor, requires_grad, py::bool_(false)).ptr() == Py_True) return {};
  const auto negated =
      py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(tensor.ptr(), is_neg));
  if (negated.ptr() == Py_True) {
    Fail(PyExc_ValueError, op, name, "the numbers that lie in memory (call resolve_neg())",
         "a view whose signs are yet to be changed");
  }
  ClearError();  // of a library that has no such views
  const Exchange* const exchange = ExchangeOf(tensor);
  if (is_borrowed) {
    Tensor t{};
    if (exchange->tensor_of(tensor.ptr(), &t) == 0) {
      return ArrayOver(op, name, t, true, py::reinterpret_borrow<py::object>(tensor), npy_bfloat16);
    }
  } else {
    ManagedVersioned* managed = nullptr;
    if (exchange->managed_of(tensor.ptr(), &managed) == 0) {
      return Adopt(op, name, managed, npy_bfloat16);
    }
  }
  ClearError();
  return {};
}

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
    return AdoptCapsule<ManagedVersioned>(op, name, exported, npy_bfloat16);
  }
  if (PyCapsule_IsValid(exported.ptr(), Managed::kName) != 0) {
    return AdoptCapsule<Managed>(op, name, exported, npy_bfloat16);
  }
  if (PyCapsule_CheckExact(exported.ptr()) != 0) {
    Fail(PyExc_ValueError, op, name, "a DLPack tensor", "one that was consumed before");
  }
  Fail(PyExc_TypeError, op, name, "a capsule from __dlpack__", TypeName(exported));
}

}  // namespace slotwise
