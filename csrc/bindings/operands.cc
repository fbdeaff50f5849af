// SPDX-License-Identifier: Apache-2.0
#include "bindings/operands.h"

#include <deque>

#include "bindings/scalars.h"
#include "core/rules.h"

namespace py = pybind11;

namespace slotwise {

namespace {

void RequireLayout(const ArrayArgument& slot, Layout layout, const ArrayArgument& var) {
  const int rank = var.rank();
  const npy_intp* const dims = PyArray_DIMS(var.array());
  const bool is_matrix = rank >= 2;
  if (layout == Layout::kLikeVar || (layout == Layout::kUnlessMatrix && !is_matrix)) {
    slot.RequireShapeOf(var);
  } else if (layout == Layout::kPerRow) {
    slot.RequireShape({rank > 0 ? dims[0] : 0}, ", one element per row of var");
  } else if (layout == Layout::kUnlessMatrix || !is_matrix) {
    slot.RequireShape({0}, ", nothing for a var of rank " + std::to_string(rank));
  } else if (layout == Layout::kWithoutLast) {
    slot.RequireShape({dims, dims + rank - 1}, ", var's without the last axis");
  } else {
    std::vector<npy_intp> shape(dims, dims + rank);
    shape.erase(shape.end() - 2);
    slot.RequireShape(shape, ", var's without the axis before the last");
  }
}

}  // namespace

void BindOps(py::module_& module, const char* prefix, FastFunction function,
             bool (*selects)(const RuleEntry&)) {
  // Raw METH_FASTCALL functions: pybind11's own dispatch would cost as much as a small update.
  static std::deque<BoundOp> ops;  // addresses must stay
  for (const RuleEntry* rule : kRules) {
    if (!selects(*rule)) continue;
    BoundOp& op = ops.emplace_back(BoundOp{rule, std::string(prefix) + rule->spec.name, {}});
    // CPython asks for this cast, and GCC warns of the direct one.
    // NOLINTNEXTLINE(bugprone-casting-through-void)
    auto* const entry = reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
    op.method = {op.name.c_str(), entry, METH_FASTCALL, nullptr};
    const py::capsule self(&op);
    module.attr(op.name.c_str()) = py::reinterpret_steal<py::object>(
        PyCFunction_NewEx(&op.method, self.ptr(), module.attr("__name__").ptr()));
  }
}

Updated::Updated(const char* op, const RuleSpec& spec, const char* var_name, PyObject* const* args)
    : slot_count_(CountSlots(spec)), var_(op, var_name, args[0]) {
  var_.RequireUpdatable();
  for (size_t i = 0; i < slot_count_; ++i) {
    const ArrayArgument& slot = slots_[i].emplace(op, spec.slots[i].name, args[1 + i]);
    slot.RequireDTypeOf(var_);
    RequireLayout(slot, spec.slots[i].layout, var_);
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
  for (size_t i = 0; spec.hypers[i].name != nullptr; ++i) hypers[i] = Rounded(dtype, hypers[i]);
}

}  // namespace slotwise
