// SPDX-License-Identifier: Apache-2.0
// RULES: what the registry says of each rule.

#include "bindings/module.h"
#include "bindings/scalars.h"
#include "core/rules.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// Says of each hyperparameter that may not be any number what it has to be.
py::dict Ranges(const RuleSpec& spec, Range Hyper::* range) {
  py::dict expected;
  for (size_t i = 0; i < CountHypers(spec); ++i) {
    const Range own = spec.hypers[i].*range;
    if (own != Range::kAny) expected[spec.hypers[i].name] = Requirement(own);
  }
  return expected;
}

py::dict Describe(const RuleEntry& rule) {
  const RuleSpec& spec = rule.spec;
  py::list slots, hypers, attrs;
  for (size_t i = 0; i < CountSlots(spec); ++i) slots.append(spec.slots[i].name);
  for (size_t i = 0; i < CountHypers(spec); ++i) hypers.append(spec.hypers[i].name);
  for (size_t i = 0; i < CountAttrs(spec); ++i) attrs.append(spec.attrs[i]);
  using namespace py::literals;
  return py::dict("name"_a = spec.name, "slots"_a = slots, "grad"_a = spec.grad,
                  "hypers"_a = hypers, "attrs"_a = attrs, "ranges"_a = Ranges(spec, &Hyper::range),
                  "sparse_ranges"_a = Ranges(spec, &Hyper::sparse_range),
                  "has_dense"_a = rule.dense != nullptr, "has_sparse"_a = rule.sparse != nullptr,
                  "sweeps_slots"_a = rule.sweeps_slots,
                  "is_deferrable"_a = rule.movement.drift != Drift::kUnknown);
}

}  // namespace

void BindRules(py::module_& module) {
  py::list rules;
  for (const RuleEntry* rule : kRules) rules.append(Describe(*rule));
  module.attr("RULES") = py::tuple(rules);
}

}  // namespace slotwise
