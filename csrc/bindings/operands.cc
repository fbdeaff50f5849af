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

Updated::Updated(const char* op, const RuleSpec& spec, const char* var_name, PyObject* const* args)
    : slot_count_(CountSlots(spec)), var_(op, var_name, args[0]) {
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
}

void Updated::GetSlots(void** slots) const {
  for (size_t i = 0; i < kMaxSlots; ++i) slots[i] = i < slot_count_ ? slots_[i]->data() : nullptr;
}

void Updated::RequireApart(const NamedArray& other) const {
  other.RequireApartFrom(var_);
  for (size_t i = 0; i < slot_count_; ++i) other.RequireApartFrom(*slots_[i]);
}

Operands::Operands(const char* op, const RuleSpec& spec, const char* grad_name,
                   PyObject* const* args)
    : Updated(op, spec, "var", args), grad_(op, grad_name, args[1 + slot_count()]) {
  grad_.RequireDTypeOf(var());
}

std::array<double, kMaxHypers> ParseHypers(const char* op, const Hyper* hypers, bool is_sparse,
                                           bool is_scaled, DType dtype, PyObject* const* args) {
  std::array<double, kMaxHypers> values{};
  for (size_t i = 0; hypers[i].name != nullptr; ++i) {
    const Range range = is_sparse ? hypers[i].sparse_range : hypers[i].range;
    values[i] = ParseHyper(op, hypers[i].name, range, is_scaled, dtype, args[i]);
  }
  return values;
}

Settings::Settings(const char* op, const RuleSpec& spec, bool is_sparse, DType dtype,
                   PyObject* const* args)
    : hypers{}, attrs{} {
  PyObject* const* next = args + CountHypers(spec);
  for (size_t i = 0; spec.attrs[i] != nullptr; ++i) {
    attrs[i] = ParseAttr(op, spec.attrs[i], *next++);
  }
  use_locking = ParseAttr(op, "use_locking", *next);
  hypers = ParseHypers(op, spec.hypers, is_sparse, attrs[0], dtype, args);
  for (double& hyper : hypers) hyper = Rounded(dtype, hyper);
}

}  // namespace slotwise
