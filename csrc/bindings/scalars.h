// Hyperparameters and attributes: Python numbers, NumPy scalars and rank-0 arrays.
#pragma once

#include <pybind11/pybind11.h>

#include "core/registry.h"

namespace slotwise {

// The value, rounded to the type that `dtype` is computed in; raises if it is not in `range`.
// `is_scaled` is the rule's attribute that Range::kPositiveOrScaled asks about.
double ParseHyper(const char* op, const char* name, Range range, bool is_scaled, DType dtype,
                  pybind11::handle object);

bool ParseAttr(const char* op, const char* name, pybind11::handle object);

}  // namespace slotwise
