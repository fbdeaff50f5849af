// SPDX-License-Identifier: Apache-2.0
// Rows of a table by their ids.

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

py::object GatherRows(py::handle table_object, py::handle ids_object,
                      const py::object& out_object) {
  constexpr const char* kOp = "gather";
  const TableArray table(kOp, "table", table_object);
  table.RequireContiguous();
  const IntegerArray ids(kOp, "ids", ids_object);
  ids.RequireInside(table.dim(0));
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

}  // namespace

void BindGather(py::module_& module) { module.def("gather", &GatherRows); }

}  // namespace slotwise
