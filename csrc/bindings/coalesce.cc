// SPDX-License-Identifier: Apache-2.0
// The sum of the rows of equal ids.

#include "bindings/bags.h"
#include "bindings/module.h"
#include "bindings/row_plan.h"
#include "bindings/table_array.h"
#include "tables/tables.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// Returns the rows in order of first appearance, their sums, and the plan that has the inverse.
// `bags` is None, or says that `grads` are those of bags.
py::tuple CoalesceRows(py::handle ids_object, py::handle grads_object, int64_t num_rows, bool exact,
                       py::handle bags) {
  constexpr const char* kOp = "coalesce";
  RowsArgument rows(kOp, "ids", ids_object, num_rows, Bounds::kRaise);
  rows.RequireRankOne();
  const RowGroups& groups = rows.groups();
  const GradientsArgument gradients(kOp, grads_object, groups, bags);
  const ArrayArgument& grads = gradients.array();
  const ScratchArray<uint32_t> order = groups.InOrderOfAppearance();
  ScratchArray<uint32_t> places(order.size());
  for (size_t i = 0; i < order.size(); ++i) places[order[i]] = static_cast<uint32_t>(i);
  const py::object sums = NewLike(grads, grads.ShapeOfRows(order.size()));
  CoalesceCall call{};
  call.dtype = grads.dtype();
  call.width = grads.width();
  call.gradients = gradients.view();
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

void BindCoalesce(py::module_& module) {
  module.def("coalesce", &CoalesceRows, py::arg("ids"), py::arg("grads"), py::arg("num_rows"),
             py::arg("exact"), py::arg("bags") = py::none());
}

}  // namespace slotwise
