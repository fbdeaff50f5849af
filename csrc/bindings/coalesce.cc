// SPDX-License-Identifier: Apache-2.0
// The sum of the rows of equal ids.

#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/row_plan.h"
#include "bindings/table_array.h"
#include "tables/tables.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// Returns the rows in order of first appearance, their sums, and the plan that has the inverse.
py::tuple CoalesceRows(py::handle ids_object, py::handle grads_object, int64_t num_rows,
                       bool exact) {
  constexpr const char* kOp = "coalesce";
  RowsArgument rows(kOp, "ids", ids_object, num_rows, Bounds::kRaise);
  rows.RequireRankOne();
  const RowGroups& groups = rows.groups();
  ArrayArgument grads(kOp, "grads", grads_object);
  if (grads.rank() == 0 || grads.dim(0) != static_cast<int64_t>(rows.count())) {
    Fail(PyExc_ValueError, kOp, "grads",
         std::to_string(rows.count()) + " rows, one for each of ids", "shape " + grads.ShapeText());
  }
  grads.MakeRowsContiguous();
  const ScratchArray<uint32_t> order = groups.InOrderOfAppearance();
  ScratchArray<uint32_t> places(order.size());
  for (size_t i = 0; i < order.size(); ++i) places[order[i]] = static_cast<uint32_t>(i);
  const py::object sums = NewLike(grads, grads.ShapeOfRows(order.size()));
  CoalesceCall call{};
  call.dtype = grads.dtype();
  call.width = grads.width();
  call.gradients = {grads.data(), grads.RowStride(), nullptr};
  call.duplicates = exact ? Duplicates::kExact : Duplicates::kSum;
  call.groups = groups.view();
  call.places = places.data();
  call.out = DataOf(sums);
  {
    const py::gil_scoped_release release;
    Coalesce(call);
  }
  const py::object unique = UniqueRows(groups, order);
  const py::object plan =
      rows.ids() ? py::cast(rows.ReleaseGroups()) : py::reinterpret_borrow<py::object>(ids_object);
  return py::make_tuple(unique, sums, plan);
}

}  // namespace

void BindCoalesce(py::module_& module) { module.def("coalesce", &CoalesceRows); }

}  // namespace slotwise
