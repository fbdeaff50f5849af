// SPDX-License-Identifier: Apache-2.0
#define SLOTWISE_IMPORT_NUMPY_API
#include "bindings/arrays.h"

#include <algorithm>
#include <string>
#include <utility>

#include "bindings/deferral.h"
#include "bindings/dlpack.h"
#include "bindings/errors.h"

namespace py = pybind11;

namespace slotwise {
namespace {

int npy_bfloat16 = -1;  // given out when ml_dtypes registers the type

DType DTypeOf(const NamedArray& array) {
  if (const auto dtype = FloatTypeOf(array.array())) return *dtype;
  Fail(PyExc_TypeError, array.op(), array.name(),
       "dtype float16, bfloat16, float32 or float64 in native byte order", array.DTypeText());
}

}  // namespace

std::optional<DType> FloatTypeOf(PyArrayObject* array) {
  if (!PyArray_ISNOTSWAPPED(array)) return std::nullopt;
  const int number = PyArray_TYPE(array);
  if (number == NPY_FLOAT) return DType::kF32;
  if (number == NPY_DOUBLE) return DType::kF64;
  if (number == NPY_HALF) return DType::kF16;
  if (number == npy_bfloat16) return DType::kBF16;
  return std::nullopt;
}

void ImportNumpy() {
  if (_import_array() < 0) throw py::error_already_set();
  const py::object bfloat16 = py::module_::import("ml_dtypes").attr("bfloat16");
  PyArray_Descr* descr = nullptr;
  if (PyArray_DescrConverter(bfloat16.ptr(), &descr) == 0) throw py::error_already_set();
  npy_bfloat16 = descr->type_num;
  Py_DECREF(descr);
}

Pinned::Pinned(const NamedArray& array)
    : data_(array.data()), type_(PyArray_TYPE(array.array())), rank_(array.rank()) {
  const npy_intp* const shape = PyArray_DIMS(array.array());
  if (rank_ <= kNear) {
    std::copy_n(shape, rank_, near_.begin());
  } else {
    far_.assign(shape, shape + rank_);
  }
}

void Pinned::Require(const NamedArray& array) const {
  if (Is(array.array())) return;
  array.RequireUpdatable();
  Fail(PyExc_ValueError, array.op(), array.name(),
       "the memory, shape and dtype that it had when its slots were made",
       "an array that was resized or changed since");
}

bool IsExchanged(py::handle object) { return HasExchange(object); }

bool LiesIn(py::handle tensor, PyArrayObject* array) {
  return IsTensorOver(tensor, array, npy_bfloat16);
}

py::object AsArray(const char* op, const char* name, py::handle object, bool is_borrowed) {
  if (PyArray_Check(object.ptr())) return py::reinterpret_borrow<py::object>(object);
  try {
    if (HasExchange(object)) {
      if (auto array = ArrayFromExchange(op, name, object, is_borrowed, npy_bfloat16)) return array;
    }
    if (PyObject_CheckBuffer(object.ptr()) != 0) {
      const auto view = py::reinterpret_steal<py::object>(PyMemoryView_FromObject(object.ptr()));
      if (!view) throw py::error_already_set();
      return py::module_::import("numpy").attr("asarray")(view);
    }
    if (py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__")) {
      return ArrayFromDLPack(op, name, object, npy_bfloat16);
    }
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;  // no answer
    const std::string reason = Text(error.value());
    if (reason.rfind(op, 0) == 0) throw;  // already says what is wrong with which argument
    Fail(error.matches(PyExc_BufferError) ? PyExc_ValueError : PyExc_TypeError, op, name,
         "an array of numbers", TypeName(object) + " (" + reason + ")");
  }
  const bool is_sequence = py::isinstance<py::list>(object) || py::isinstance<py::tuple>(object);
  Fail(PyExc_TypeError, op, name,
       "an array, or an object that exports the buffer protocol or DLPack",
       TypeName(object) + (is_sequence ? " (np.asarray makes an array of it)" : ""));
}

std::pair<const char*, const char*> NamedArray::Extent() const {
  const char* const data = PyArray_BYTES(array());
  const char *first = data, *last = data;
  for (int d = 0; d < rank(); ++d) {
    if (dim(d) == 0) return {data, data};
    const npy_intp reach = (dim(d) - 1) * PyArray_STRIDE(array(), d);
    (reach < 0 ? first : last) += reach;
  }
  return {first, last + PyArray_ITEMSIZE(array())};
}

std::vector<npy_intp> NamedArray::ShapeOfRows(size_t rows) const {
  std::vector<npy_intp> shape(PyArray_DIMS(array()), PyArray_DIMS(array()) + rank());
  shape[0] = static_cast<npy_intp>(rows);
  return shape;
}

std::string NamedArray::DTypeText() const {
  return Text(reinterpret_cast<PyObject*>(PyArray_DESCR(array())));
}

std::string NamedArray::ShapeText() const { return Text(array_.attr("shape")); }

void NamedArray::RequireShape(const std::vector<npy_intp>& shape, const std::string& like) const {
  if (PyArray_NDIM(array()) == static_cast<int>(shape.size()) &&
      std::equal(shape.begin(), shape.end(), PyArray_DIMS(array()))) {
    return;
  }
  py::tuple expected(shape.size());
  for (size_t d = 0; d < shape.size(); ++d) expected[d] = shape[d];
  Fail(PyExc_ValueError, op_, name_, "shape " + Text(expected) + like, ShapeText());
}

void NamedArray::RequireShapeOf(const NamedArray& other) const {
  if (PyArray_SAMESHAPE(array(), other.array())) return;
  Fail(PyExc_ValueError, op_, name_, "shape " + other.ShapeText() + " like " + other.name_,
       ShapeText());
}

void NamedArray::RequireRows() const {
  if (rank() == 0) Fail(PyExc_ValueError, op_, name_, "rank >= 1", "rank 0");
}

void NamedArray::RequireVector() const {
  if (rank() != 1) Fail(PyExc_ValueError, op_, name_, "rank 1", "rank " + std::to_string(rank()));
}

void NamedArray::RequireContiguous() const {
  if (Has(NPY_ARRAY_CARRAY_RO)) return;
  Fail(PyExc_ValueError, op_, name_, "a C-contiguous array", "a strided or misaligned one");
}

void NamedArray::RequireUpdatable() const {
  if (Has(NPY_ARRAY_CARRAY)) return;
  if (!Has(NPY_ARRAY_WRITEABLE)) {
    Fail(PyExc_ValueError, op_, name_, "a writable array", "a read-only one");
  }
  if (!Has(NPY_ARRAY_C_CONTIGUOUS)) {
    Fail(PyExc_ValueError, op_, name_, "a C-contiguous array",
         "shape " + ShapeText() + " with strides " + Text(array_.attr("strides")));
  }
  Fail(PyExc_ValueError, op_, name_, "memory aligned to its elements", "a misaligned array");
}

void NamedArray::RequireApartFrom(const NamedArray& other) const {
  const auto mine = Extent(), its = other.Extent();
  if (mine.second <= its.first || its.second <= mine.first) return;
  if (mine.first == mine.second || its.first == its.second) return;  // an empty one, within
  // A strided gradient may reach around another array without sharing an element.
  if (!Has(NPY_ARRAY_C_CONTIGUOUS) &&
      !py::module_::import("numpy").attr("shares_memory")(array_, other.array_).cast<bool>()) {
    return;
  }
  Fail(PyExc_ValueError, op_, name_, "memory of its own",
       std::string("an array that overlaps ") + other.name_);
}

void NamedArray::MakeContiguous() {
  if (!Has(NPY_ARRAY_CARRAY_RO)) Copy();
}

void NamedArray::Copy() {
  array_ = py::reinterpret_steal<py::object>(PyArray_NewCopy(array(), NPY_CORDER));
  if (!array_) throw py::error_already_set();
}

ArrayArgument::ArrayArgument(const char* op, const char* name, py::handle object, bool is_borrowed)
    : NamedArray(op, name, AsArray(op, name, object, is_borrowed)), dtype_(DTypeOf(*this)) {
  Deferral::RequireNoneBehind(*this);
}

StridedArray ArrayArgument::strided() const {
  static_assert(sizeof(npy_intp) == sizeof(int64_t), "64-bit platforms only");
  static constexpr int64_t kOne[1] = {1};
  const bool plain = Has(NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED);
  if (rank() == 0) return {data(), plain, 1, kOne, kOne};
  return {data(), plain, rank(), reinterpret_cast<const int64_t*>(PyArray_DIMS(array())),
          reinterpret_cast<const int64_t*>(PyArray_STRIDES(array()))};
}

void ArrayArgument::MakeRowsContiguous() {
  const npy_intp item = PyArray_ITEMSIZE(array());
  npy_intp contiguous = item;
  bool is_plain = Has(NPY_ARRAY_ALIGNED) && (rank() == 0 || PyArray_STRIDE(array(), 0) % item == 0);
  for (int d = rank() - 1; d >= 1; --d) {
    is_plain = is_plain && (dim(d) == 1 || PyArray_STRIDE(array(), d) == contiguous);
    contiguous *= dim(d);
  }
  if (!is_plain) MakeContiguous();
}

int64_t ArrayArgument::RowStride() const {
  return PyArray_STRIDE(array(), 0) / PyArray_ITEMSIZE(array());
}

void ArrayArgument::RequireDTypeOf(const ArrayArgument& other) const {
  if (dtype_ == other.dtype_) return;
  Fail(PyExc_TypeError, op_, name_, "dtype " + other.DTypeText() + " like " + other.name_,
       DTypeText());
}

IntegerArray::IntegerArray(const char* op, const char* name, py::handle object)
    : NamedArray(op, name, AsArray(op, name, object)) {
  const char kind = PyArray_DESCR(array())->kind;
  const npy_intp size = PyArray_ITEMSIZE(array());
  if (kind != 'i' || (size != 4 && size != 8) || !PyArray_ISNOTSWAPPED(array())) {
    Fail(PyExc_TypeError, op_, name_, "dtype int32 or int64 in native byte order", DTypeText());
  }
  MakeContiguous();
}

std::string IntegerArray::ElementName(size_t position) const {
  std::string index;
  for (int d = rank() - 1; d >= 0; --d) {
    const size_t extent = static_cast<size_t>(dim(d));
    index = std::to_string(position % extent) + (index.empty() ? "" : "," + index);
    position /= extent;
  }
  return std::string(name_) + (index.empty() ? "" : "[" + index + "]");
}

void IntegerArray::FailOutside(size_t position, int64_t rows) const {
  const std::string text = std::string(op_) + ": " + ElementName(position) + " = " +
                           std::to_string(ids()[position]) + " is not in [0, " +
                           std::to_string(rows) + ")";
  PyErr_SetString(PyExc_ValueError, text.c_str());
  throw py::error_already_set();
}

void IntegerArray::RequireInside(int64_t rows) const {
  if (const auto at = FirstOutside(ids(), rows)) FailOutside(*at, rows);
}

}  // namespace slotwise
