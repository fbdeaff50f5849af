// SPDX-License-Identifier: Apache-2.0
// A row over the steps that it missed: its slots fade, var moves by what they give, weight decay
// and the moving average follow. Of all rules, whose kinds of movement it knows (core/motion.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/clock.h"

namespace slotwise {

// What is read of a row, and where it goes, which may be the same memory; null: not wanted.
struct SkippedRow {
  const void* var;
  const void* slots[kMaxSlots];
  const void* average;  // null: there is none
  void* to_var;
  void* to_slots[kMaxSlots];
  void* to_average;
};

// Rows of one table.
struct Skipping {
  const Clock& clock;
  const Movement& movement;  // not one that replaces var
  size_t slots, width;
};

using SkipFunction = void (*)(const Skipping& how, int32_t s, const SkippedRow& row);

// The function of the active target, called for a row that stands at a step s before now.
SkipFunction SkipOf(DType dtype);

}  // namespace slotwise
