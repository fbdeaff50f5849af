// SPDX-License-Identifier: Apache-2.0
// The scatter ops: rows of any dtype of numbers.

#include <optional>

#include "bindings/choices.h"
#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/row_plan.h"
#include "bindings/scalars.h"
#include "bindings/table_array.h"
#include "core/memory_lock.h"
#include "tables/tables.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// Names of the ops, in the order of the enum.
constexpr std::string_view kScatterNames[] = {"ScatterAdd",   "ScatterSub", "ScatterMul",
                                              "ScatterDiv",   "ScatterMin", "ScatterMax",
                                              "ScatterUpdate"};

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

py::object ScatterRows(py::handle op_name, py::object var_object, py::handle indices_object,
                       py::handle updates_object, py::handle use_locking) {
  const size_t number = ParseChoice("scatter", "op", op_name, kScatterNames);
  const auto op = static_cast<Scatter>(number);
  const char* const name = kScatterNames[number].data();
  const TableArray var(name, "ref", var_object);
  var.RequireUpdatable();
  const bool locking = ParseAttr(name, "use_locking", use_locking);
  const auto floats = FloatTypeOf(var.array());
  const auto plain = TypeOfIntegers(var);
  const bool is_complex = plain == PlainType::kC64 || plain == PlainType::kC128;
  const bool is_minmax = op == Scatter::kMin || op == Scatter::kMax;
  if (op != Scatter::kUpdate && ((!floats && !plain) || (is_complex && is_minmax))) {
    Fail(PyExc_TypeError, name, "ref", is_minmax ? "real numbers" : "numbers", var.DTypeText());
  }
  const RowsArgument rows(name, "indices", indices_object, var.dim(0), Bounds::kRaise);
  if (rows.ids()) rows.ids()->RequireApartFrom(var);

  // There is one row of updates for each index, or a scalar for all.
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
    updates.RequireShape(rows.ids() ? Join(*rows.ids(), var) : var.ShapeOfRows(rows.count()),
                         " (indices.shape + ref.shape[1:]) or ()");
    updates.RequireApartFrom(var);
    updates_array = numpy.attr("ascontiguousarray")(updates_array);
  }
  if (op == Scatter::kDiv && !numpy.attr("all")(updates_array).cast<bool>()) {
    Fail(PyExc_ValueError, name, "updates", "no zeros", "a zero");
  }

  const size_t row_bytes = var.row_bytes();
  const size_t width = var.width();
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
      SparseTable table{};
      table.width = width;
      table.var = call.var;
      table.gradients = {call.updates, stride, nullptr};
      table.groups = groups;
      ScatterFloats(op, {*floats, 1, &table, Duplicates::kSequential, nullptr, nullptr});
    } else {
      ScatterPlain(op, *plain, call);
    }
  }
  return var_object;
}

}  // namespace

void BindScatter(py::module_& module) { module.def("scatter", &ScatterRows); }

}  // namespace slotwise
