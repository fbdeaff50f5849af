#include "bindings/arrays.h"

#include <algorithm>
#include <utility>

#include "bindings/dlpack.h"
#include "bindings/errors.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// Type numbers of NumPy's C ABI; bfloat16's is given out when ml_dtypes registers it.
constexpr int kNpyHalf = 23, kNpyFloat = 11, kNpyDouble = 12;
int npy_bfloat16 = -1;

py::dtype BFloat16() { return py::dtype(npy_bfloat16); }

py::array AsArray(const char* op, const char* name, py::handle object) {
  if (py::isinstance<py::array>(object)) return py::reinterpret_borrow<py::array>(object);
  if (PyObject_CheckBuffer(object.ptr()) != 0) {
    return py::module_::import("numpy").attr("asarray")(
        py::memoryview(py::reinterpret_borrow<py::object>(object)));
  }
  if (py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__")) {
    try {
      return ArrayFromDLPack(op, name, object, BFloat16());
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_BufferError)) throw;
      Fail(PyExc_ValueError, op, name, "a tensor that DLPack can export", Text(error.value()));
    }
  }
  Fail(PyExc_TypeError, op, name,
       "an array, or an object that exports the buffer protocol or DLPack", TypeName(object));
}

DType DTypeOf(const char* op, const char* name, const py::array& array) {
  const py::dtype dtype = array.dtype();
  const int number = dtype.num();
  if (number == npy_bfloat16) return DType::kBF16;
  if (dtype.byteorder() == '=') {
    if (number == kNpyFloat) return DType::kF32;
    if (number == kNpyDouble) return DType::kF64;
    if (number == kNpyHalf) return DType::kF16;
  }
  Fail(PyExc_TypeError, op, name,
       "dtype float16, bfloat16, float32 or float64 in native byte order", Text(dtype));
}

std::string ShapeText(const py::array& array) { return Text(array.attr("shape")); }

bool IsAligned(const py::array& array) {
  return (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

// First and one-past-last address of an array that is not empty.
std::pair<const char*, const char*> Extent(const py::array& array) {
  const char* first = static_cast<const char*>(array.data());
  const char* last = first;
  for (py::ssize_t d = 0; d < array.ndim(); ++d) {
    const py::ssize_t reach = (array.shape(d) - 1) * array.strides(d);
    (reach < 0 ? first : last) += reach;
  }
  return {first, last + array.itemsize()};
}

}  // namespace

void LoadBFloat16() {
  npy_bfloat16 = py::dtype::from_args(py::module_::import("ml_dtypes").attr("bfloat16")).num();
}

ArrayArgument::ArrayArgument(const char* op_name, const char* argument, py::handle object)
    : op(op_name),
      name(argument),
      array(AsArray(op_name, argument, object)),
      dtype(DTypeOf(op_name, argument, array)) {}

bool ArrayArgument::contiguous() const {
  return (array.flags() & py::array::c_style) != 0 && IsAligned(array);
}

StridedArray ArrayArgument::strided() const {
  static_assert(sizeof(py::ssize_t) == sizeof(int64_t));
  static constexpr int64_t kOne[1] = {1};
  if (array.ndim() == 0) return {array.data(), contiguous(), 1, kOne, kOne};
  return {array.data(), contiguous(), static_cast<int>(array.ndim()),
          reinterpret_cast<const int64_t*>(array.shape()),
          reinterpret_cast<const int64_t*>(array.strides())};
}

void ArrayArgument::RequireLike(const ArrayArgument& var) const {
  if (dtype != var.dtype) {
    Fail(PyExc_TypeError, op, name, "dtype " + Text(var.array.dtype()) + " like " + var.name,
         Text(array.dtype()));
  }
  const py::ssize_t rank = var.array.ndim();
  if (array.ndim() != rank || !std::equal(array.shape(), array.shape() + rank, var.array.shape())) {
    Fail(PyExc_ValueError, op, name, "shape " + ShapeText(var.array) + " like " + var.name,
         ShapeText(array));
  }
}

void ArrayArgument::RequireUpdatable() const {
  if (!array.writeable()) {
    Fail(PyExc_ValueError, op, name, "a writable array", "a read-only one");
  }
  if ((array.flags() & py::array::c_style) == 0) {
    Fail(PyExc_ValueError, op, name, "a C-contiguous array",
         "shape " + ShapeText(array) + " with strides " + Text(array.attr("strides")));
  }
  if (!IsAligned(array)) {
    Fail(PyExc_ValueError, op, name, "memory aligned to its elements", "a misaligned array");
  }
}

void ArrayArgument::RequireApartFrom(const ArrayArgument& other) const {
  if (array.size() == 0) return;
  const auto mine = Extent(array), its = Extent(other.array);
  if (mine.second <= its.first || its.second <= mine.first) return;
  // A strided gradient may reach around another array without sharing an element.
  if ((array.flags() & py::array::c_style) == 0 &&
      !py::module_::import("numpy").attr("shares_memory")(array, other.array).cast<bool>()) {
    return;
  }
  Fail(PyExc_ValueError, op, name, std::string("memory of its own"),
       std::string("an array that overlaps ") + other.name);
}

bool ArrayArgument::IsSameMemoryAs(const ArrayArgument& other) const {
  return array.data() == other.array.data() && (array.flags() & py::array::c_style) != 0;
}

}  // namespace slotwise
