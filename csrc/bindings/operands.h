// SPDX-License-Identifier: Apache-2.0
// What dense and sparse ops have in common: var, slots, hyperparameters and attributes.
#pragma once

#include <array>
#include <new>
#include <optional>
#include <string>

#include "bindings/arrays.h"
#include "core/memory_lock.h"
#include "core/registry.h"

namespace slotwise {

// One Python function made from a registry row.
struct BoundOp {
  const RuleEntry* rule;
  std::string name;
  PyMethodDef method;
};

using FastFunction = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

// Adds a function of `prefix` + the rule's name for every rule that `selects`, called by position.
void BindOps(pybind11::module_& module, const char* prefix, FastFunction function,
             bool (*selects)(const RuleEntry&));

// Runs `body`, which returns a new reference, and turns C++ exceptions into Python's.
template <class Body>
PyObject* Guarded(const BoundOp& op, Py_ssize_t count, size_t expected, const Body& body) {
  if (static_cast<size_t>(count) != expected) {
    return PyErr_Format(PyExc_TypeError, "%s: expected %zu arguments, got %zd", op.name.c_str(),
                        expected, count);
  }
  try {
    return body();
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_Format(PyExc_RuntimeError, "%s: %s", op.name.c_str(), error.what());
  }
  return nullptr;
}

// var and its slots, checked.
class Updated {
 public:
  // `var_name` is what errors call var.
  Updated(const char* op, const RuleSpec& spec, const char* var_name, PyObject* const* args);

  const ArrayArgument& var() const { return var_; }
  size_t slot_count() const { return slot_count_; }
  const ArrayArgument& slot(size_t i) const { return *slots_[i]; }

  // Fills an array of kMaxSlots pointers.
  void GetSlots(void** slots) const;

  // Raises if `other` shares memory with var or a slot.
  void RequireApart(const NamedArray& other) const;

 private:
  size_t slot_count_;
  ArrayArgument var_;
  std::array<std::optional<ArrayArgument>, kMaxSlots> slots_;
};

// var, its slots and the gradient of one call, all checked, except the gradient's shape.
class Operands : public Updated {
 public:
  Operands(const char* op, const RuleSpec& spec, const char* grad_name, PyObject* const* args);

  const ArrayArgument& grad() const { return grad_; }

 private:
  ArrayArgument grad_;
};

// A value, not rounded, for each of `hypers`, which end with an unused one. `is_scaled` is as in
// ParseHyper.
std::array<double, kMaxHypers> ParseHypers(const char* op, const Hyper* hypers, bool is_sparse,
                                           bool is_scaled, DType dtype, PyObject* const* args);

// Hyperparameters, rounded to the type that `dtype` is computed in, attributes and use_locking,
// from consecutive arguments.
struct Settings {
  Settings(const char* op, const RuleSpec& spec, bool is_sparse, DType dtype,
           PyObject* const* args);

  std::array<double, kMaxHypers> hypers;
  std::array<bool, kMaxAttrs> attrs;
  bool use_locking;
};

// Calls shorter than this keep the GIL: letting go of it costs more than the update.
constexpr size_t kMinBytesWithoutGil = size_t{64} << 10;

// Lets other Python threads run during a call that is long enough to bother, and holds the lock.
class WithoutGil {
 public:
  WithoutGil(const ArrayArgument& var, size_t bytes_touched, bool use_locking) {
    if (use_locking || bytes_touched >= kMinBytesWithoutGil) release_.emplace();
    if (use_locking) lock_.emplace(var.data(), var.bytes());
  }

 private:
  std::optional<pybind11::gil_scoped_release> release_;
  std::optional<MemoryLock> lock_;  // let go of first
};

}  // namespace slotwise
