// SPDX-License-Identifier: Apache-2.0
// What is known of each update rule: its names, and its drivers for every instruction set.
#pragma once

#include <cstddef>

#include "core/motion.h"
#include "core/types.h"

namespace slotwise {

// Which values a hyperparameter may take, once rounded to the compute type. NaN is never allowed.
enum class Range {
  kAny,
  kFinite,
  kPositive,
  kPositiveOrScaled,  // > 0, or >= 0 with the rule's attribute (multiply_linear_by_lr) set
  kNonNegative,
  kNotPositive,  // and finite
  kAtMostOne,
  kInteger,
};

// The sparse op of a rule may be stricter than the dense one, as in TensorFlow.
struct Hyper {
  const char* name;
  Range range = Range::kAny;
  Range sparse_range = range;
};

// What the elements of a slot stand for, and so its shape.
enum class Layout {
  kLikeVar,           // one for each of var's
  kUnlessMatrix,      // the same for a var of rank 0 or 1, none for any other: shape (0,)
  kPerRow,            // one for each of var's first axis
  kWithoutLast,       // one for each vector along var's last axis: shape[:-1]
  kWithoutNextToLast  // one for each along the axis before: shape[:-2] + shape[-1:]
};

struct Slot {
  constexpr Slot(const char* slot_name = nullptr, Layout slot_layout = Layout::kLikeVar)
      : name(slot_name), layout(slot_layout) {}

  const char* name;
  Layout layout;
};

// Names as TensorFlow spells them; unused entries are null. The ops are Apply<name> and
// SparseApply<name>.
struct RuleSpec {
  const char* name;
  Slot slots[kMaxSlots + 1];
  const char* grad;
  Hyper hypers[kMaxHypers + 1];
  const char* attrs[kMaxAttrs + 1];
};

constexpr size_t CountSlots(const RuleSpec& spec) {
  size_t n = 0;
  while (spec.slots[n].name != nullptr) ++n;
  return n;
}

constexpr size_t CountHypers(const RuleSpec& spec) {
  size_t n = 0;
  while (spec.hypers[n].name != nullptr) ++n;
  return n;
}

constexpr size_t CountAttrs(const RuleSpec& spec) {
  size_t n = 0;
  while (spec.attrs[n] != nullptr) ++n;
  return n;
}

using DenseFunction = void (*)(const DenseCall&);
using SparseFunction = void (*)(const SparseCall&);
using SweepFunction = void (*)(const SweepCall&);
// The numbers of a step of rows without a gradient.
using MotionFunction = Motion (*)(DType, const double* hypers, const bool* attrs);
// What updates a row, by a gradient in the type that is computed in.
struct Kernel;
using KernelFunction = Kernel (*)(DType);

struct RuleEntry {
  RuleSpec spec;
  const DenseFunction* dense;    // all indexed by TargetIndex(); null if there is no dense op
  const SparseFunction* sparse;  // null if an update depends on all of var, not on a row alone
  const SweepFunction* sweep;    // null if there is no dense op, or no sparse one
  const KernelFunction* rows;    // null if there is no sparse op
  bool sweeps_slots;             // whether it can sweep the slots alone
  Movement movement;             // of rows without a gradient
  MotionFunction motion;         // null if steps cannot be put off
};

}  // namespace slotwise
