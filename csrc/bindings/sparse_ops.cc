// The sparse op of every rule that has one:
//   SparseApply<rule>(var, slots..., grad, hyperparameters..., attributes..., use_locking, indices,
//                     duplicates, bounds) -> var, or how many ids were skipped

#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/operands.h"
#include "bindings/row_plan.h"
#include "bindings/scalars.h"
#include "core/rules.h"
#include "core/targets.h"

namespace py = pybind11;

namespace slotwise {
namespace {

PyObject* Apply(const BoundOp& op, PyObject* const* args) {
  const char* const name = op.name.c_str();
  const RuleSpec& spec = op.rule->spec;
  const size_t slot_count = CountSlots(spec);

  Operands operands(name, spec, "grad", args);
  const ArrayArgument& var = operands.var();
  if (var.rank() == 0) Fail(PyExc_ValueError, name, "var", "rank >= 1", "rank 0");
  PyObject* const* const settings_args = args + 2 + slot_count;
  const Settings settings(name, spec, /*is_sparse=*/true, var.dtype(), settings_args);

  PyObject* const* const rest = settings_args + CountHypers(spec) + CountAttrs(spec) + 1;
  const Duplicates duplicates = ParseDuplicates(name, rest[1]);
  const Bounds bounds = ParseBounds(name, rest[2]);
  const RowsArgument rows(name, "indices", rest[0], var.dim(0), bounds);
  if (bounds == Bounds::kRaise) rows.RequireNoneSkipped();
  if (duplicates == Duplicates::kError) rows.RequireDistinct();
  rows.RequireRankOne();
  if (rows.ids()) operands.RequireApart(*rows.ids());

  ArrayArgument grad = operands.grad();
  grad.RequireShape(var.ShapeOfRows(rows.count()), ", a row for each of indices");
  operands.RequireApart(grad);
  grad.MakeRowsContiguous();

  SparseCall call{};
  call.dtype = var.dtype();
  call.width = var.dim(0) == 0 ? 0 : var.count() / static_cast<size_t>(var.dim(0));
  call.var = var.data();
  operands.GetSlots(call.slots);
  call.grad = grad.data();
  call.grad_stride = grad.RowStride();
  call.groups = rows.groups().view();
  call.sum = duplicates == Duplicates::kSum;
  call.hypers = settings.hypers.data();
  call.attrs = settings.attrs.data();
  if (call.groups.groups > 0 && call.width > 0) {
    const SparseFunction function = op.rule->sparse[TargetIndex()];
    const WithoutGil without_gil(var, grad.bytes() * (2 + slot_count), settings.use_locking);
    function(call);
  }
  if (bounds == Bounds::kSkip) return PyLong_FromSize_t(rows.groups().skipped());
  Py_INCREF(args[0]);
  return args[0];
}

PyObject* CallSparse(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  const auto& op = *static_cast<const BoundOp*>(PyCapsule_GetPointer(self, nullptr));
  const RuleSpec& spec = op.rule->spec;
  const size_t expected = 6 + CountSlots(spec) + CountHypers(spec) + CountAttrs(spec);
  return Guarded(op, count, expected, [&] { return Apply(op, args); });
}

// What the hyperparameters that may not be any number are expected to be.
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
                  "sweeps_slots"_a = rule.sweeps_slots);
}

}  // namespace

void BindSparseOps(py::module_& module) {
  BindOps(module, "SparseApply", &CallSparse,
          [](const RuleEntry& rule) { return rule.sparse != nullptr; });
  py::list rules;
  for (const RuleEntry* rule : kRules) rules.append(Describe(*rule));
  module.attr("RULES") = py::tuple(rules);
}

}  // namespace slotwise
