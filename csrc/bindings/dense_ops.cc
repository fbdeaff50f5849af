// SPDX-License-Identifier: Apache-2.0
// The dense op of every rule:
//   Apply<rule>(var, slots..., grad, hyperparameters..., attributes..., use_locking) -> var

#include "bindings/module.h"
#include "bindings/operands.h"
#include "core/targets.h"

namespace py = pybind11;

namespace slotwise {
namespace {

void ApplyDense(const BoundOp& op, PyObject* const* args) {
  const char* const name = op.name.c_str();
  const RuleSpec& spec = op.rule->spec;
  const size_t slot_count = CountSlots(spec);

  const Operands operands(name, spec, spec.grad, args);
  const ArrayArgument& var = operands.var();
  const ArrayArgument& grad = operands.grad();
  grad.RequireShapeOf(var);
  if (!grad.IsSameMemoryAs(var)) operands.RequireApart(grad);
  const Settings settings(name, spec, /*is_sparse=*/false, var.dtype(), args + 2 + slot_count);

  DenseTensor tensor{};
  tensor.count = var.count();
  tensor.var = var.data();
  operands.GetSlots(tensor.slots);
  tensor.grad = grad.strided();
  const DenseCall call{var.dtype(), 1, &tensor, settings.hypers.data(), settings.attrs.data()};
  if (tensor.count == 0) return;

  const DenseFunction function = op.rule->dense[TargetIndex()];
  const WithoutGil without_gil(var, var.bytes() * (2 + slot_count), settings.use_locking);
  function(call);
}

PyObject* CallDense(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  const auto& op = *static_cast<const BoundOp*>(PyCapsule_GetPointer(self, nullptr));
  const RuleSpec& spec = op.rule->spec;
  const size_t expected = 3 + CountSlots(spec) + CountHypers(spec) + CountAttrs(spec);
  return Guarded(op, count, expected, [&] {
    ApplyDense(op, args);
    Py_INCREF(args[0]);
    return args[0];
  });
}

}  // namespace

void BindDenseOps(py::module_& module) {
  BindOps(module, "Apply", &CallDense, [](const RuleEntry& rule) { return rule.dense != nullptr; });
}

}  // namespace slotwise
