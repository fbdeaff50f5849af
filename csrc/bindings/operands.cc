#include "bindings/operands.h"

#include <deque>

#include "bindings/scalars.h"

namespace py = pybind11;

namespace slotwise {

void BindOps(py::module_& module, const char* prefix, FastFunction function,
             bool (*selects)(const RuleEntry&)) {
  // Raw METH_FASTCALL functions: pybind11's own dispatch would cost as much as a small update.
  static std::deque<BoundOp> ops;  // addresses must stay
  for (const RuleEntry* rule : kRules) {
    if (!selects(*rule)) continue;
    BoundOp& op = ops.emplace_back(BoundOp{rule, std::string(prefix) + rule->spec.name, {}});
    op.method = {op.name.c_str(), reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function)),
                 METH_FASTCALL, nullptr};
    const py::capsule self(&op);
    module.attr(op.name.c_str()) = py::reinterpret_steal<py::object>(
        PyCFunction_NewEx(&op.method, self.ptr(), module.attr("__name__").ptr()));
  }
}

Operands::Operands(const char* op, const RuleSpec& spec, const char* grad_name,
                   PyObject* const* args)
    : slot_count_(CountSlots(spec)),
      var_(op, "var", args[0]),
      grad_(op, grad_name, args[1 + slot_count_]) {
  var_.RequireUpdatable();
  for (size_t i = 0; i < slot_count_; ++i) {
    const ArrayArgument& slot = slots_[i].emplace(op, spec.slots[i], args[1 + i]);
    slot.RequireDTypeOf(var_);
    if (spec.row_slots) {
      slot.RequireShape({var_.rank() > 0 ? var_.dim(0) : 0}, ", one element per row of var");
    } else {
      slot.RequireShapeOf(var_);
    }
    slot.RequireUpdatable();
    slot.RequireApartFrom(var_);
    for (size_t j = 0; j < i; ++j) slot.RequireApartFrom(*slots_[j]);
  }
  grad_.RequireDTypeOf(var_);
}

void Operands::RequireApart(const NamedArray& other) const {
  other.RequireApartFrom(var_);
  for (size_t i = 0; i < slot_count_; ++i) other.RequireApartFrom(*slots_[i]);
}

Settings::Settings(const char* op, const RuleSpec& spec, bool is_sparse, DType dtype,
                   PyObject* const* args)
    : hypers{}, attrs{} {
  const size_t hyper_count = CountHypers(spec);
  PyObject* const* next = args + hyper_count;
  for (size_t i = 0; spec.attrs[i] != nullptr; ++i) {
    attrs[i] = ParseAttr(op, spec.attrs[i], *next++);
  }
  use_locking = ParseAttr(op, "use_locking", *next);
  for (size_t i = 0; i < hyper_count; ++i) {
    const Hyper& hyper = spec.hypers[i];
    hypers[i] = ParseHyper(op, hyper.name, is_sparse ? hyper.sparse_range : hyper.range, attrs[0],
                           dtype, args[i]);
  }
}

}  // namespace slotwise
