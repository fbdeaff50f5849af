#define SLOTWISE_IMPORT_NUMPY_API
#include "bindings/arrays.h"

#include <algorithm>
#include <string>
#include <utility>

#include "bindings/dlpack.h"
#include "bindings/errors.h"

namespace py = pybind11;

namespace slotwise {
namespace {

int npy_bfloat16 = -1;  // given out when ml_dtypes registers the type

py::object AsArray(const char* op, const char* name, py::handle object) {
  if (PyArray_Check(object.ptr())) return py::reinterpret_borrow<py::object>(object);
  if (PyObject_CheckBuffer(object.ptr()) != 0) {
    const auto view = py::reinterpret_steal<py::object>(PyMemoryView_FromObject(object.ptr()));
    if (!view) throw py::error_already_set();
    return py::module_::import("numpy").attr("asarray")(view);
  }
  if (py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__")) {
    try {
      return ArrayFromDLPack(op, name, object, npy_bfloat16);
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_BufferError)) throw;
      Fail(PyExc_ValueError, op, name, "a tensor that DLPack can export", Text(error.value()));
    }
  }
  Fail(PyExc_TypeError, op, name,
       "an array, or an object that exports the buffer protocol or DLPack", TypeName(object));
}

std::string DTypeText(PyArrayObject* array) {
  return Text(reinterpret_cast<PyObject*>(PyArray_DESCR(array)));
}

DType DTypeOf(const char* op, const char* name, PyArrayObject* array) {
  const int number = PyArray_TYPE(array);
  if (PyArray_ISNOTSWAPPED(array)) {
    if (number == NPY_FLOAT) return DType::kF32;
    if (number == NPY_DOUBLE) return DType::kF64;
    if (number == NPY_HALF) return DType::kF16;
    if (number == npy_bfloat16) return DType::kBF16;
  }
  Fail(PyExc_TypeError, op, name,
       "dtype float16, bfloat16, float32 or float64 in native byte order", DTypeText(array));
}

std::string ShapeText(py::handle array) { return Text(array.attr("shape")); }

// First and one-past-last address of an array that is not empty.
std::pair<const char*, const char*> Extent(PyArrayObject* array) {
  const char* first = PyArray_BYTES(array);
  const char* last = first;
  for (int d = 0; d < PyArray_NDIM(array); ++d) {
    const npy_intp reach = (PyArray_DIM(array, d) - 1) * PyArray_STRIDE(array, d);
    (reach < 0 ? first : last) += reach;
  }
  return {first, last + PyArray_ITEMSIZE(array)};
}

}  // namespace

void ImportNumpy() {
  if (_import_array() < 0) throw py::error_already_set();
  const py::object bfloat16 = py::module_::import("ml_dtypes").attr("bfloat16");
  PyArray_Descr* descr = nullptr;
  if (PyArray_DescrConverter(bfloat16.ptr(), &descr) == 0) throw py::error_already_set();
  npy_bfloat16 = descr->type_num;
  Py_DECREF(descr);
}

ArrayArgument::ArrayArgument(const char* op, const char* name, py::handle object)
    : op_(op),
      name_(name),
      array_(AsArray(op, name, object)),
      dtype_(DTypeOf(op, name, array())) {}

StridedArray ArrayArgument::strided() const {
  static_assert(sizeof(npy_intp) == sizeof(int64_t), "64-bit platforms only");
  static constexpr int64_t kOne[1] = {1};
  const bool plain = Has(NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED);
  const int rank = PyArray_NDIM(array());
  if (rank == 0) return {data(), plain, 1, kOne, kOne};
  return {data(), plain, rank, reinterpret_cast<const int64_t*>(PyArray_DIMS(array())),
          reinterpret_cast<const int64_t*>(PyArray_STRIDES(array()))};
}

void ArrayArgument::RequireLike(const ArrayArgument& var) const {
  if (dtype_ != var.dtype_) {
    Fail(PyExc_TypeError, op_, name_, "dtype " + DTypeText(var.array()) + " like " + var.name_,
         DTypeText(array()));
  }
  if (!PyArray_SAMESHAPE(array(), var.array())) {
    Fail(PyExc_ValueError, op_, name_, "shape " + ShapeText(var.array_) + " like " + var.name_,
         ShapeText(array_));
  }
}

void ArrayArgument::RequireUpdatable() const {
  if (Has(NPY_ARRAY_CARRAY)) return;
  if (!Has(NPY_ARRAY_WRITEABLE)) {
    Fail(PyExc_ValueError, op_, name_, "a writable array", "a read-only one");
  }
  if (!Has(NPY_ARRAY_C_CONTIGUOUS)) {
    Fail(PyExc_ValueError, op_, name_, "a C-contiguous array",
         "shape " + ShapeText(array_) + " with strides " + Text(array_.attr("strides")));
  }
  Fail(PyExc_ValueError, op_, name_, "memory aligned to its elements", "a misaligned array");
}

void ArrayArgument::RequireApartFrom(const ArrayArgument& other) const {
  if (count() == 0) return;
  const auto mine = Extent(array()), its = Extent(other.array());
  if (mine.second <= its.first || its.second <= mine.first) return;
  // A strided gradient may reach around another array without sharing an element.
  if (!Has(NPY_ARRAY_C_CONTIGUOUS) &&
      !py::module_::import("numpy").attr("shares_memory")(array_, other.array_).cast<bool>()) {
    return;
  }
  Fail(PyExc_ValueError, op_, name_, "memory of its own",
       std::string("an array that overlaps ") + other.name_);
}

}  // namespace slotwise
