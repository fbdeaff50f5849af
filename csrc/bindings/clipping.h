// SPDX-License-Identifier: Apache-2.0
// Clipping gradients, by numbers that come from Python.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "passes/gradients.h"

namespace slotwise {

struct Clipping {
  pybind11::object value, norm, global_norm;  // None: not clipped that way

  bool any() const { return !(value.is_none() && norm.is_none() && global_norm.is_none()); }
};

// The transforms of gradients that amount to clipping by value, then by norm, then by global norm.
// `squares` are the sums of their squares, for one kind of norm; null: they are measured.
std::vector<GradTransform> Clip(const char* op, const Clipping& clipping,
                                std::vector<Measured> gradients,
                                const std::vector<double>* squares = nullptr);

}  // namespace slotwise
