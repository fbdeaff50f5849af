// One function per row of the registry, called by position:
//   op(var, slots..., grad, hyperparameters..., attributes..., use_locking) -> var

#include <pybind11/stl.h>

#include <array>
#include <iterator>
#include <optional>

#include "bindings/arrays.h"
#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/scalars.h"
#include "core/memory_lock.h"
#include "core/registry.h"
#include "core/targets.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// Calls shorter than this keep the GIL: letting go of it costs more than the update.
constexpr size_t kMinBytesToReleaseGil = 16 << 10;

void Apply(const RuleEntry& rule, PyObject* const* args) {
  const RuleSpec& spec = rule.spec;
  const size_t slot_count = CountSlots(spec);

  const ArrayArgument var(spec.op, "var", args[0]);
  var.RequireUpdatable();
  DenseCall call{};
  call.dtype = var.dtype();
  call.count = var.count();
  call.var = var.data();

  std::array<std::optional<ArrayArgument>, kMaxSlots> slots;
  for (size_t i = 0; i < slot_count; ++i) {
    const ArrayArgument& slot = slots[i].emplace(spec.op, spec.slots[i], args[1 + i]);
    slot.RequireLike(var);
    slot.RequireUpdatable();
    slot.RequireApartFrom(var);
    for (size_t j = 0; j < i; ++j) slot.RequireApartFrom(*slots[j]);
    call.slots[i] = slot.data();
  }

  const ArrayArgument grad(spec.op, spec.grad, args[1 + slot_count]);
  grad.RequireLike(var);
  if (!grad.IsSameMemoryAs(var)) grad.RequireApartFrom(var);
  for (size_t i = 0; i < slot_count; ++i) grad.RequireApartFrom(*slots[i]);
  call.grad = grad.strided();

  PyObject* const* next = args + 2 + slot_count;
  std::array<double, kMaxHypers> hypers{};
  for (size_t i = 0; spec.hypers[i].name != nullptr; ++i) {
    hypers[i] = ParseHyper(spec.op, spec.hypers[i], var.dtype(), *next++);
  }
  std::array<bool, kMaxAttrs> attrs{};
  for (size_t i = 0; spec.attrs[i] != nullptr; ++i) {
    attrs[i] = ParseAttr(spec.op, spec.attrs[i], *next++);
  }
  const bool use_locking = ParseAttr(spec.op, "use_locking", *next);
  call.hypers = hypers.data();
  call.attrs = attrs.data();
  if (call.count == 0) return;

  const DenseFunction function = rule.dense[TargetIndex()];
  std::optional<py::gil_scoped_release> release;
  std::optional<MemoryLock> lock;
  if (use_locking || var.bytes() >= kMinBytesToReleaseGil) release.emplace();
  if (use_locking) lock.emplace(call.var, var.bytes());
  function(call);
}

size_t CountArguments(const RuleSpec& spec) {
  return 3 + CountSlots(spec) + CountHypers(spec) + CountAttrs(spec);
}

PyObject* CallRule(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  const auto& rule = *static_cast<const RuleEntry*>(PyCapsule_GetPointer(self, nullptr));
  const size_t expected = CountArguments(rule.spec);
  if (static_cast<size_t>(count) != expected) {
    return PyErr_Format(PyExc_TypeError, "%s: expected %zu arguments, got %zd", rule.spec.op,
                        expected, count);
  }
  try {
    Apply(rule, args);
  } catch (py::error_already_set& error) {
    error.restore();
    return nullptr;
  } catch (const std::exception& error) {
    PyErr_Format(PyExc_RuntimeError, "%s: %s", rule.spec.op, error.what());
    return nullptr;
  }
  Py_INCREF(args[0]);
  return args[0];
}

py::dict Describe(const RuleSpec& spec) {
  py::list slots, hypers, attrs;
  for (size_t i = 0; i < CountSlots(spec); ++i) slots.append(spec.slots[i]);
  for (size_t i = 0; i < CountHypers(spec); ++i) hypers.append(spec.hypers[i].name);
  for (size_t i = 0; i < CountAttrs(spec); ++i) attrs.append(spec.attrs[i]);
  using namespace py::literals;
  return py::dict("op"_a = spec.op, "slots"_a = slots, "grad"_a = spec.grad, "hypers"_a = hypers,
                  "attrs"_a = attrs);
}

}  // namespace

void BindRules(py::module_& module) {
  // Raw METH_FASTCALL functions: pybind11's own dispatch would cost as much as a small update.
  static PyMethodDef methods[std::size(kRules)];
  py::list described;
  for (size_t i = 0; i < std::size(kRules); ++i) {
    const RuleEntry& rule = *kRules[i];
    methods[i] = {rule.spec.op, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(&CallRule)),
                  METH_FASTCALL, nullptr};
    const py::capsule self(&rule);
    module.attr(rule.spec.op) = py::reinterpret_steal<py::object>(
        PyCFunction_NewEx(&methods[i], self.ptr(), module.attr("__name__").ptr()));
    described.append(Describe(rule.spec));
  }
  module.attr("RULES") = py::tuple(described);
}

}  // namespace slotwise
