// SPDX-License-Identifier: Apache-2.0
// Rows of a table by their ids, as they are or pooled by bags.

#include <optional>

#include "bindings/choices.h"
#include "bindings/module.h"
#include "bindings/row_plan.h"
#include "bindings/table_array.h"
#include "tables/tables.h"

namespace py = pybind11;

namespace slotwise {
namespace {

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

void RequireInside(const IntegerArray& ids, int64_t rows) {
  if (const auto at = FirstOutside(ids.ids(), rows)) ids.FailOutside(*at, rows);
}

py::object GatherRows(py::handle table_object, py::handle ids_object,
                      const py::object& out_object) {
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
                    const py::object& weights, py::handle mode_name) {
  constexpr const char* kOp = "gather_pooled";
  const auto mode =
      static_cast<Pooling>(ParseChoice(kOp, "mode", mode_name, {"sum", "mean", "sqrtn"}));
  const ArrayArgument table(kOp, "table", table_object);
  table.RequireRows();
  table.RequireContiguous();
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
  const py::object out = NewLike(table, table.ShapeOfRows(bags));
  PooledCall call{};
  call.dtype = table.dtype();
  call.width = table.width();
  call.table = table.data();
  call.rows = static_cast<size_t>(table.dim(0));
  call.ids = ids.ids();
  call.weights = factors ? factors->data() : nullptr;
  call.offsets = static_cast<const int64_t*>(offsets.data());
  call.bags = bags;
  call.mode = mode;
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

}  // namespace

void BindGather(py::module_& module) {
  module.def("gather", &GatherRows);
  module.def("gather_pooled", &PoolRows);
}

}  // namespace slotwise
