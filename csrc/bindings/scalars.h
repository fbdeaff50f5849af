// SPDX-License-Identifier: Apache-2.0
// Hyperparameters and attributes: Python numbers, NumPy scalars and rank-0 arrays.
#pragma once

#include <pybind11/pybind11.h>

#include "core/registry.h"

namespace slotwise {

// What errors say that a number of this range has to be.
const char* Requirement(Range range);

// The number, rounded to the type that `dtype` is computed in.
inline double Rounded(DType dtype, double number) {
  return dtype == DType::kF64 ? number : static_cast<float>(number);
}

// The value, not rounded; raises if what it is rounded to is not in `range`. What is subnormal then
// comes as zero, and what is not in `range` before comes rounded. `is_scaled` is the rule's
// attribute that Range::kPositiveOrScaled asks about.
double ParseHyper(const char* op, const char* name, Range range, bool is_scaled, DType dtype,
                  pybind11::handle object);

bool ParseAttr(const char* op, const char* name, pybind11::handle object);

}  // namespace slotwise
