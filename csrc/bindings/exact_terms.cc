// SPDX-License-Identifier: Apache-2.0
// The sums of the rows of equal ids as rows that add up to them exactly.

#include "tables/exact_terms.h"

#include "bindings/bags.h"
#include "bindings/module.h"
#include "bindings/row_plan.h"
#include "bindings/table_array.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// `order` has places among the plan's distinct ids; `bags` is None, or says that `grads` are those
// of bags. Returns how many rows each of these ids has, and the rows, one after the other.
py::tuple TermsOfRows(py::handle plan, py::handle grads_object, py::handle order_object,
                      py::handle bags) {
  constexpr const char* kOp = "exact_terms";
  const RowsArgument rows(kOp, "plan", plan, plan.cast<const RowGroups&>().num_rows(),
                          Bounds::kSkip);
  const RowGroups& groups = rows.groups();
  const GradientsArgument gradients(kOp, grads_object, groups, bags);
  const ArrayArgument& grads = gradients.array();
  const IntegerArray order(kOp, "order", order_object);
  order.RequireVector();
  order.RequireInside(static_cast<int64_t>(groups.view().groups));
  const ScratchArray<uint32_t> appearing = groups.InOrderOfAppearance();
  ScratchArray<uint32_t> wanted(order.count());
  for (size_t i = 0; i < order.count(); ++i) {
    wanted[i] = appearing[std::min(static_cast<size_t>(order.ids()[i]), appearing.size() - 1)];
  }
  std::optional<ExactTerms> terms;
  {
    const py::gil_scoped_release release;
    terms.emplace(TermsCall{grads.dtype(), grads.width(), gradients.view(), groups.view(),
                            wanted.begin(), wanted.size()});
  }
  auto count = static_cast<npy_intp>(order.count());
  const auto counts = py::reinterpret_steal<py::object>(PyArray_SimpleNew(1, &count, NPY_INT64));
  if (!counts) throw py::error_already_set();
  std::copy_n(terms->counts(), order.count(), static_cast<int64_t*>(DataOf(counts)));
  const py::object out = NewLike(grads, grads.ShapeOfRows(terms->rows()));
  {
    const py::gil_scoped_release release;
    terms->Write(DataOf(out));
  }
  return py::make_tuple(counts, out);
}

}  // namespace

void BindExactTerms(py::module_& module) {
  module.def("exact_terms", &TermsOfRows, py::arg("plan"), py::arg("grads"), py::arg("order"),
             py::arg("bags") = py::none());
}

}  // namespace slotwise
