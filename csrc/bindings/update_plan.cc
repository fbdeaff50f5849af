// SPDX-License-Identifier: Apache-2.0
#include "bindings/update_plan.h"

#include <utility>

#include "bindings/assignments.h"
#include "bindings/errors.h"
#include "bindings/module.h"
#include "bindings/scalars.h"
#include "bindings/update_step.h"
#include "core/rules.h"

namespace py = pybind11;

namespace slotwise {
namespace {

// The items of a list of `count`; no items if it is None.
py::tuple OnePerEntry(const char* op, const char* name, const py::object& list, size_t count) {
  if (list.is_none()) return py::tuple();
  if (!py::isinstance<py::list>(list)) {
    Fail(PyExc_TypeError, op, name, "a list or None", TypeName(list));
  }
  if (py::len(list) != count) {
    Fail(PyExc_ValueError, op, name, "one for each of " + std::to_string(count) + " entries",
         std::to_string(py::len(list)));
  }
  return py::tuple(list);
}

// The array that a variable of the user's is: an ndarray, or a Variable's. Null if it is neither.
PyArrayObject* HeldArray(PyObject* variable, py::object& holder) {
  if (PyArray_Check(variable) == 0) {
    holder = py::getattr(variable, "_array", py::none());
    variable = holder.ptr();
    if (PyArray_Check(variable) == 0) return nullptr;
  }
  return reinterpret_cast<PyArrayObject*>(variable);
}

}  // namespace

const RuleEntry& FindRule(const std::string& name) {
  for (const RuleEntry* rule : kRules) {
    if (name == rule->spec.name) return *rule;
  }
  Fail(PyExc_ValueError, "UpdatePlan", "rule", "the name of a rule", name);
}

UpdatePlan::UpdatePlan(const std::string& op, const std::string& rule, const py::list& entries,
                       const py::object& averages, const py::object& decays,
                       const py::object& deferrals)
    : op_(op), rule_(FindRule(rule)), written_({}) {
  const Deferral::Trust trust;  // a step compares
  const py::tuple average_of = OnePerEntry(op_.c_str(), "averages", averages, entries.size());
  const py::tuple decays_of = OnePerEntry(op_.c_str(), "decays", decays, entries.size());
  const py::tuple deferral_of = OnePerEntry(op_.c_str(), "deferrals", deferrals, entries.size());
  has_averages_ = !averages.is_none();
  has_decays_ = !decays.is_none();
  std::vector<WrittenMemory::Interval> intervals;
  for (const py::handle item : entries) {
    const auto fields = py::cast<py::tuple>(item);
    const size_t slot_count = CountSlots(rule_.spec);
    if (fields.size() != 3 + slot_count) {
      Fail(PyExc_ValueError, op_.c_str(), "entries",
           std::to_string(3 + slot_count) + " fields each", std::to_string(fields.size()));
    }
    const std::string& var_name = Keep(Text(fields[1]));
    const std::string& grad_name = Keep("gradient of " + var_name);
    std::vector<PyObject*> args;
    for (size_t i = 2; i < fields.size(); ++i) args.push_back(fields[i].ptr());
    const size_t number = entries_.size();
    Entry& entry = entries_.emplace_back();
    entry.key = py::reinterpret_borrow<py::object>(fields[0]);
    entry.grad_name = grad_name.c_str();
    entry.ids_name = Keep(grad_name + ": indices").c_str();
    entry.arrays =
        std::make_unique<Updated>(op_.c_str(), rule_.spec, var_name.c_str(), args.data());
    const Updated& arrays = *entry.arrays;
    const auto pin = [&](const ArrayArgument& array) {
      intervals.push_back(array.Extent());
      return Pinned(array);
    };
    entry.pinned_var = pin(arrays.var());
    for (size_t i = 0; i < slot_count; ++i) entry.pinned_slots[i] = pin(arrays.slot(i));
    if (has_averages_) {
      const std::string& name = Keep("average of " + var_name);
      const ArrayArgument& average =
          entry.average.emplace(op_.c_str(), name.c_str(), py::object(average_of[number]));
      average.RequireDTypeOf(arrays.var());
      average.RequireShapeOf(arrays.var());
      average.RequireUpdatable();
      arrays.RequireApart(average);
      entry.pinned_average = pin(average);
    }
    if (has_decays_) entry.decays = ParseAttr(op_.c_str(), "decays", py::object(decays_of[number]));
    if (!deferrals.is_none() && !deferral_of[number].is_none()) {
      entry.holds_deferral = deferral_of[number];
      entry.deferral = &entry.holds_deferral.cast<const Deferral&>();
      entry.deferral->RequireOf(op_.c_str(), rule_, arrays,
                                entry.average ? &*entry.average : nullptr);
    }
  }
  written_ = WrittenMemory(std::move(intervals));
}

void UpdatePlan::Entry::RequireUnchanged() const {
  pinned_var.Require(arrays->var());
  for (size_t i = 0; i < arrays->slot_count(); ++i) pinned_slots[i].Require(arrays->slot(i));
}

void UpdatePlan::Entry::RequireAverageUnchanged() const { pinned_average.Require(*average); }

bool UpdatePlan::Matches(const py::list& pairs) const {
  if (pairs.size() != entries_.size()) return false;
  for (size_t i = 0; i < entries_.size(); ++i) {
    PyObject* const pair = PyList_GET_ITEM(pairs.ptr(), static_cast<Py_ssize_t>(i));
    if (PyTuple_Check(pair) == 0 || PyTuple_GET_SIZE(pair) != 2) return false;
    if (PyTuple_GET_ITEM(pair, 0) == Py_None) return false;
    PyObject* const variable = PyTuple_GET_ITEM(pair, 1);
    const Entry& entry = entries_[i];
    if (variable == entry.key.ptr()) continue;
    py::object holder;
    PyArrayObject* const array = HeldArray(variable, holder);
    const Pinned& var = entry.pinned_var;
    if (array == nullptr || !var.Is(array) || !var.Is(entry.arrays->var().array())) return false;
    // Another Variable of that memory may have a constraint, which the plan does not know of. (If
    // the entry has no key, the caller compares constraints.)
    if (holder && !entry.key.is_none() &&
        !py::getattr(variable, "constraint", py::none()).is_none()) {
      return false;
    }
  }
  return true;
}

int64_t UpdatePlan::CountFlushes() const {
  int64_t count = 0;
  for (const Entry& entry : entries_) {
    if (entry.deferral != nullptr) count += entry.deferral->table().flushes();
  }
  return count;
}

void BindUpdatePlan(py::module_& module) {
  // What `apply` takes is explained at UpdateStep.
  using Strings = const std::string&;
  using Object = const py::object&;
  py::class_<UpdatePlan>(module, "UpdatePlan")
      .def(py::init<Strings, Strings, const py::list&, Object, Object, Object>(), py::arg("op"),
           py::arg("rule"), py::arg("entries"), py::arg("averages") = py::none(),
           py::arg("decays") = py::none(), py::arg("deferrals") = py::none())
      .def("matches", &UpdatePlan::Matches)
      .def_property_readonly("flushes", &UpdatePlan::CountFlushes)
      .def(
          "apply",
          [](const UpdatePlan& plan, const py::list& pairs, Object hypers, Object attrs,
             Object clipvalue, Object clipnorm, Object global_clipnorm, Object scope, Object decay,
             Object average, Object around, Object gradient, Object after) {
            const Assignments assignments(plan.op(), after);
            const UpdateStep step(plan, {&plan}, pairs, hypers, attrs,
                                  {clipvalue, clipnorm, global_clipnorm}, scope, decay, average,
                                  around, gradient);
            step.Run();
            assignments.Write();
          },
          py::arg("pairs"), py::arg("hypers"), py::arg("attrs"), py::arg("clipvalue"),
          py::arg("clipnorm"), py::arg("global_clipnorm"), py::arg("scope"),
          py::arg("decay") = py::none(), py::arg("average") = py::none(),
          py::arg("around") = "rows", py::arg("gradient") = py::none(),
          py::arg("after") = py::tuple());
  module.def("apply_all", &ApplyAll, py::arg("steps"), py::arg("after") = py::tuple(),
             py::arg("only_check") = false);
}

}  // namespace slotwise
