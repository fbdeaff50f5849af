// SPDX-License-Identifier: Apache-2.0
// The sparse op of every rule that has one:
//   SparseApply<rule>(var, slots..., grad, hyperparameters..., attributes..., use_locking, indices,
//                     duplicates, bounds, offsets, weights, mode, include_last_offset)
//                       -> var, or how many ids were skipped

#include <optional>

#include "bindings/bags.h"
#include "bindings/module.h"
#include "bindings/operands.h"
#include "bindings/row_plan.h"
#include "core/targets.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// Whether any of offsets, weights and mode says that rows were pooled.
bool HasBags(PyObject* const* args) {
  const bool is_sum =
      PyUnicode_Check(args[2]) != 0 && PyUnicode_CompareWithASCIIString(args[2], "sum") == 0;
  return args[0] != Py_None || args[1] != Py_None || !is_sum;
}

PyObject* ApplySparse(const BoundOp& op, PyObject* const* args) {
  const char* const name = op.name.c_str();
  const RuleSpec& spec = op.rule->spec;
  const size_t slot_count = CountSlots(spec);

  Operands operands(name, spec, "grad", args);
  const ArrayArgument& var = operands.var();
  var.RequireRows();
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
  std::optional<BagsArgument> bags;
  std::optional<Bags> pooled;
  if (!HasBags(rest + 3)) {
    rows.RequireRowForEach(grad, var);
  } else {
    const auto given =
        py::reinterpret_steal<py::object>(PyTuple_Pack(4, rest[3], rest[4], rest[5], rest[6]));
    if (!given) throw py::error_already_set();
    bags.emplace(name, "", given, rows.count(), var.dtype());
    bags->RequireGradients(grad, var);
    if (bags->weights_array()) operands.RequireApart(*bags->weights_array());
    pooled.emplace(bags->ForGradients(rows.groups().LeftOut()));
  }
  operands.RequireApart(grad);
  grad.MakeRowsContiguous();

  SparseTable table{};
  table.width = var.width();
  table.var = var.data();
  operands.GetSlots(table.slots);
  table.gradients = {grad.data(), grad.RowStride(), pooled ? &pooled->view() : nullptr};
  table.groups = rows.groups().view();
  const SparseCall call{var.dtype(),          1, &table, duplicates, settings.hypers.data(),
                        settings.attrs.data()};
  if (table.groups.groups > 0 && table.width > 0) {
    const SparseFunction function = op.rule->sparse[TargetIndex()];
    const WithoutGil without_gil(var,
                                 rows.count() * table.width * SizeOf(call.dtype) * (2 + slot_count),
                                 settings.use_locking);
    function(call);
  }
  if (bounds == Bounds::kSkip) return PyLong_FromSize_t(rows.groups().skipped());
  Py_INCREF(args[0]);
  return args[0];
}

PyObject* CallSparse(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  const auto& op = *static_cast<const BoundOp*>(PyCapsule_GetPointer(self, nullptr));
  const RuleSpec& spec = op.rule->spec;
  const size_t expected = 10 + CountSlots(spec) + CountHypers(spec) + CountAttrs(spec);
  return Guarded(op, count, expected, [&] { return ApplySparse(op, args); });
}

}  // namespace

void BindSparseOps(py::module_& module) {
  BindOps(module, "SparseApply", &CallSparse,
          [](const RuleEntry& rule) { return rule.sparse != nullptr; });
}

}  // namespace slotwise
