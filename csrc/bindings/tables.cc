// gather, gather_pooled, coalesce, the scatter ops, and memory for tables.

#include "core/tables.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>

#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/operands.h"
#include "bindings/row_plan.h"
#include "bindings/scalars.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// Any dtype of a fixed size that holds no Python objects.
class TableArray : public NamedArray {
 public:
  TableArray(const char* op, const char* name, py::handle object)
      : NamedArray(op, name, AsArray(op, name, object)) {
    if (rank() == 0) Fail(PyExc_ValueError, op, name, "rank >= 1", "rank 0");
    if (PyDataType_REFCHK(PyArray_DESCR(array()))) {
      Fail(PyExc_TypeError, op, name, "a dtype of numbers", DTypeText());
    }
  }

  std::string DTypeText() const {
    return Text(reinterpret_cast<PyObject*>(PyArray_DESCR(array())));
  }
  size_t row_bytes() const {
    size_t bytes = static_cast<size_t>(PyArray_ITEMSIZE(array()));
    for (int d = 1; d < rank(); ++d) bytes *= static_cast<size_t>(dim(d));
    return bytes;
  }
  size_t bytes() const { return static_cast<size_t>(PyArray_NBYTES(array())); }
  void RequireContiguous() const {
    if (Has(NPY_ARRAY_CARRAY_RO)) return;
    Fail(PyExc_ValueError, op_, name_, "a C-contiguous array", "a strided or misaligned one");
  }
  void RequireDTypeOf(const TableArray& other) const {
    if (PyArray_EquivTypes(PyArray_DESCR(array()), PyArray_DESCR(other.array())) != 0) return;
    Fail(PyExc_TypeError, op_, name_, "dtype " + other.DTypeText() + " like " + other.name(),
         DTypeText());
  }
};

std::vector<npy_intp> Join(const NamedArray& first, const NamedArray& table) {
  std::vector<npy_intp> shape(PyArray_DIMS(first.array()),
                              PyArray_DIMS(first.array()) + first.rank());
  shape.insert(shape.end(), PyArray_DIMS(table.array()) + 1,
               PyArray_DIMS(table.array()) + table.rank());
  return shape;
}

constexpr size_t kMinBytesToKeep = 256 << 10;

// A new array of the table's dtype. The memory of a large one is kept for the next when it goes:
// fresh pages would cost as much as filling them.
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
    memory.release();
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

// The output of `op`: `out` if the user gave one, else a new array.
py::object Output(const char* op, const TableArray& table, const IntegerArray& ids,
                  const std::vector<npy_intp>& shape, const py::object& out) {
  if (out.is_none()) return NewLike(table, shape);
  const TableArray given(op, "out", out);
  given.RequireDTypeOf(table);
  given.RequireShape(shape, "");
  given.RequireUpdatable();
  given.RequireApartFrom(table);
  given.RequireApartFrom(ids);
  return py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(given.array()));
}

void* DataOf(const py::object& array) {
  return PyArray_DATA(reinterpret_cast<PyArrayObject*>(array.ptr()));
}

[[noreturn]] void FailOutside(const IntegerArray& ids, size_t at, int64_t rows) {
  const std::string text = std::string(ids.op()) + ": " + ids.ElementName(at) + " = " +
                           std::to_string(ids.ids()[at]) + " is not in [0, " +
                           std::to_string(rows) + ")";
  PyErr_SetString(PyExc_ValueError, text.c_str());
  throw py::error_already_set();
}

void RequireInside(const IntegerArray& ids, int64_t rows) {
  if (const auto at = FirstOutside(ids.ids(), rows)) FailOutside(ids, *at, rows);
}

py::object GatherRows(py::handle table_object, py::handle ids_object, py::object out_object) {
  constexpr const char* kOp = "gather";
  const TableArray table(kOp, "table", table_object);
  table.RequireContiguous();
  const IntegerArray ids(kOp, "ids", ids_object);
  RequireInside(ids, table.dim(0));
  const py::object out = Output(kOp, table, ids, Join(ids, table), out_object);
  const GatherCall call{table.data(), static_cast<size_t>(table.dim(0)), table.row_bytes(),
                        ids.ids(), DataOf(out)};
  bool is_whole;
  {
    const py::gil_scoped_release release;
    is_whole = Gather(call);
  }
  if (!is_whole) Fail(PyExc_ValueError, kOp, "ids", "ids that stay as they are", "changed ones");
  return out;
}

py::object PoolRows(py::handle table_object, py::handle ids_object, py::handle offsets_object,
                    py::object weights, int mode) {
  constexpr const char* kOp = "gather_pooled";
  const ArrayArgument table(kOp, "table", table_object);
  if (table.rank() == 0) Fail(PyExc_ValueError, kOp, "table", "rank >= 1", "rank 0");
  if (!table.Has(NPY_ARRAY_CARRAY_RO)) {
    Fail(PyExc_ValueError, kOp, "table", "a C-contiguous array", "a strided or misaligned one");
  }
  const IntegerArray ids(kOp, "ids", ids_object);
  RequireInside(ids, table.dim(0));
  const IntegerArray offsets(kOp, "offsets", offsets_object);  // with the end appended
  const size_t bags = offsets.count() - 1;
  const RowIds bounds = offsets.ids();
  if (!bounds.is_int64 || bounds.count == 0 || bounds[0] != 0 ||
      bounds[bags] != static_cast<int64_t>(ids.count())) {
    Fail(PyExc_ValueError, kOp, "offsets", "them to end with the number of ids",
         "another number: the ids' shape is not what it says");
  }
  std::optional<ArrayArgument> factors;
  if (!weights.is_none()) {
    factors.emplace(kOp, "weights", weights);
    factors->RequireShape({static_cast<npy_intp>(ids.count())}, " like ids");
    const bool is_wide = table.dtype() == DType::kF64;
    if (factors->dtype() != (is_wide ? DType::kF64 : DType::kF32) ||
        !factors->Has(NPY_ARRAY_CARRAY_RO)) {
      Fail(PyExc_TypeError, kOp, "weights", "them in the type that is computed in", "others");
    }
  }
  std::vector<npy_intp> shape(PyArray_DIMS(table.array()),
                              PyArray_DIMS(table.array()) + table.rank());
  shape[0] = static_cast<npy_intp>(bags);
  const py::object out = NewLike(table, shape);
  PooledCall call{};
  call.dtype = table.dtype();
  call.width = table.dim(0) == 0 ? 0 : table.count() / static_cast<size_t>(table.dim(0));
  call.table = table.data();
  call.rows = static_cast<size_t>(table.dim(0));
  call.ids = ids.ids();
  call.weights = factors ? factors->data() : nullptr;
  call.offsets = static_cast<const int64_t*>(offsets.data());
  call.bags = bags;
  call.mode = static_cast<Pooling>(mode);
  call.out = DataOf(out);
  if (table.dim(0) == 0) {  // all bags are empty
    PyArray_FILLWBYTE(reinterpret_cast<PyArrayObject*>(out.ptr()), 0);
    return out;
  }
  {
    const py::gil_scoped_release release;
    GatherPooled(call);
  }
  RequireInside(ids, table.dim(0));  // still: another thread may have changed them
  return out;
}

// -> (rows in order of first appearance, sums, inverse)
py::tuple CoalesceRows(py::handle ids_object, py::handle grads_object, int64_t num_rows) {
  constexpr const char* kOp = "coalesce";
  RowsArgument rows(kOp, "ids", ids_object, num_rows, Bounds::kRaise);
  rows.RequireRankOne();
  const RowGroups& groups = rows.groups();
  ArrayArgument grads(kOp, "grads", grads_object);
  if (grads.rank() == 0 || grads.dim(0) != static_cast<int64_t>(rows.count())) {
    Fail(PyExc_ValueError, kOp, "grads",
         std::to_string(rows.count()) + " rows, one for each of ids",
         "shape " + Text(py::handle(reinterpret_cast<PyObject*>(grads.array())).attr("shape")));
  }
  grads.MakeRowsContiguous();
  const ScratchArray<uint32_t> order = groups.InOrderOfAppearance();
  ScratchArray<uint32_t> places(order.size());
  for (size_t i = 0; i < order.size(); ++i) places[order[i]] = static_cast<uint32_t>(i);
  std::vector<npy_intp> shape(PyArray_DIMS(grads.array()),
                              PyArray_DIMS(grads.array()) + grads.rank());
  shape[0] = static_cast<npy_intp>(order.size());
  const py::object sums = NewLike(grads, shape);
  CoalesceCall call{};
  call.dtype = grads.dtype();
  call.width = rows.count() == 0 ? 0 : grads.count() / rows.count();
  call.grad = grads.data();
  call.grad_stride = grads.RowStride();
  call.groups = groups.view();
  call.places = places.data();
  call.out = DataOf(sums);
  {
    const py::gil_scoped_release release;
    Coalesce(call);
  }
  const py::object unique = UniqueRows(groups, order);
  const py::object plan =
      rows.ids() ? py::cast(rows.Take()) : py::reinterpret_borrow<py::object>(ids_object);
  return py::make_tuple(unique, sums, plan);
}

constexpr const char* kScatterNames[] = {"ScatterAdd", "ScatterSub", "ScatterMul",   "ScatterDiv",
                                         "ScatterMin", "ScatterMax", "ScatterUpdate"};

std::optional<DType> FloatType(const NamedArray& array) {
  try {
    return ArrayArgument(array.op(), array.name(), reinterpret_cast<PyObject*>(array.array()))
        .dtype();
  } catch (py::error_already_set&) {
    return std::nullopt;
  }
}

std::optional<PlainType> TypeOfIntegers(const TableArray& array) {
  const char kind = PyArray_DESCR(array.array())->kind;
  const npy_intp size = PyArray_ITEMSIZE(array.array());
  if (!PyArray_ISNOTSWAPPED(array.array())) return std::nullopt;
  const int step = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : size == 8 ? 3 : -1;
  if (kind == 'i' && step >= 0) return static_cast<PlainType>(step);
  if (kind == 'u' && step >= 0) return static_cast<PlainType>(4 + step);
  if (kind == 'c' && size == 8) return PlainType::kC64;
  if (kind == 'c' && size == 16) return PlainType::kC128;
  return std::nullopt;
}

py::object ScatterRows(int op_number, py::object var_object, py::handle indices_object,
                       py::handle updates_object, py::handle use_locking) {
  const auto op = static_cast<Scatter>(op_number);
  const char* const name = kScatterNames[op_number];
  const TableArray var(name, "ref", var_object);
  var.RequireUpdatable();
  const bool locking = ParseAttr(name, "use_locking", use_locking);
  const auto floats = FloatType(var);
  const auto plain = TypeOfIntegers(var);
  const bool is_complex = plain == PlainType::kC64 || plain == PlainType::kC128;
  const bool is_minmax = op == Scatter::kMin || op == Scatter::kMax;
  if (op != Scatter::kUpdate && ((!floats && !plain) || (is_complex && is_minmax))) {
    Fail(PyExc_TypeError, name, "ref", is_minmax ? "real numbers" : "numbers", var.DTypeText());
  }
  const RowsArgument rows(name, "indices", indices_object, var.dim(0), Bounds::kRaise);
  if (rows.ids()) rows.ids()->RequireApartFrom(var);

  // One row of updates for each index, or a scalar for all.
  py::object updates_array = AsArray(name, "updates", updates_object);
  const bool is_scalar = PyArray_NDIM(reinterpret_cast<PyArrayObject*>(updates_array.ptr())) == 0;
  const auto numpy = py::module_::import("numpy");
  if (is_scalar) {
    py::tuple row_shape(var.rank() - 1);
    for (int d = 1; d < var.rank(); ++d) row_shape[static_cast<size_t>(d - 1)] = var.dim(d);
    updates_array = numpy.attr("full")(row_shape, updates_array);
    updates_array = numpy.attr("reshape")(updates_array, py::make_tuple(-1));
  }
  const TableArray updates(name, "updates", updates_array);
  updates.RequireDTypeOf(var);
  if (!is_scalar) {
    std::vector<npy_intp> shape;
    if (rows.ids()) {
      shape = Join(*rows.ids(), var);
    } else {
      shape.assign(PyArray_DIMS(var.array()), PyArray_DIMS(var.array()) + var.rank());
      shape[0] = static_cast<npy_intp>(rows.count());
    }
    updates.RequireShape(shape, " (indices.shape + ref.shape[1:]) or ()");
    updates.RequireApartFrom(var);
    updates_array = numpy.attr("ascontiguousarray")(updates_array);
  }
  if (op == Scatter::kDiv && !numpy.attr("all")(updates_array).cast<bool>()) {
    Fail(PyExc_ValueError, name, "updates", "no zeros", "a zero");
  }

  const size_t row_bytes = var.row_bytes();
  const size_t width = row_bytes / static_cast<size_t>(PyArray_ITEMSIZE(var.array()));
  const auto stride = static_cast<int64_t>(is_scalar ? 0 : width);
  const RowGroupsView groups = rows.groups().view();
  if (groups.groups > 0 && width > 0) {
    const py::gil_scoped_release release;
    std::optional<MemoryLock> lock;
    if (locking) lock.emplace(var.data(), var.bytes());
    const ScatterCall call{width, var.data(), DataOf(updates_array), stride, groups};
    if (op == Scatter::kUpdate) {
      ScatterCopy(row_bytes, is_scalar ? 0 : row_bytes, call);
    } else if (floats) {
      SparseCall sparse{};
      sparse.dtype = *floats;
      sparse.width = width;
      sparse.var = call.var;
      sparse.grad = call.updates;
      sparse.grad_stride = stride;
      sparse.groups = groups;
      ScatterFloats(op, sparse);
    } else {
      ScatterPlain(op, *plain, call);
    }
  }
  return var_object;
}

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
    owned.release();
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

void BindTables(py::module_& module) {
  module.def("allocate", &Allocate);
  module.def("as_array", [](const std::string& op, const std::string& name, py::handle value) {
    return AsArray(op.c_str(), name.c_str(), value);
  });
  module.def("gather", &GatherRows);
  module.def("gather_pooled", &PoolRows);
  module.def("coalesce", &CoalesceRows);
  module.def("scatter", &ScatterRows);
}

}  // namespace slotwise
