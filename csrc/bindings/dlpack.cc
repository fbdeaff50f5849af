#include "bindings/dlpack.h"

#include <string>
#include <vector>

#include "bindings/errors.h"
#include "bindings/numpy_api.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// The structures of DLPack's C ABI, as its specification fixes them.
enum DeviceType : int32_t { kDeviceCpu = 1 };
enum TypeCode : uint8_t { kFloat = 2, kBFloat = 4 };
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

  bool read_only() const { return (flags & kFlagReadOnly) != 0; }
};

// The type number of NumPy for a tensor's type, or -1.
int TypeNumber(const Tensor& t, int npy_bfloat16) {
  if (t.dtype.lanes != 1) return -1;
  if (t.dtype.code == kBFloat && t.dtype.bits == 16) return npy_bfloat16;
  if (t.dtype.code != kFloat) return -1;
  return t.dtype.bits == 16   ? NPY_HALF
         : t.dtype.bits == 32 ? NPY_FLOAT
         : t.dtype.bits == 64 ? NPY_DOUBLE
                              : -1;
}

template <class M>
py::object Adopt(const char* op, const char* name, py::capsule capsule, int npy_bfloat16) {
  M* managed = capsule.get_pointer<M>();
  const Tensor& t = managed->tensor;
  const int number = TypeNumber(t, npy_bfloat16);
  if (number < 0) {
    Fail(PyExc_TypeError, op, name, "dtype float16, bfloat16, float32 or float64",
         "a DLPack tensor of type code " + std::to_string(t.dtype.code) + " with " +
             std::to_string(t.dtype.bits) + " bits");
  }
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
                           static_cast<char*>(t.data) + t.byte_offset,
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
  const auto device = object.attr("__dlpack_device__")().cast<py::tuple>();
  if (device[0].cast<int>() != kDeviceCpu) {
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
