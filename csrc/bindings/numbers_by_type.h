// SPDX-License-Identifier: Apache-2.0
// Lists of numbers that depend on the type that a variable is computed in.
#pragma once

#include <array>

#include "bindings/operands.h"

namespace slotwise {

class NumbersByType {
 public:
  NumbersByType() = default;

  // `lists` are a tuple of two, for float32 (and 16-bit types) and for float64: each a tuple with a
  // number for each of `hypers`, which end with an unused one, or None for a type that no variable
  // has. `argument` is what errors call it.
  NumbersByType(const char* op, const char* argument, const Hyper* hypers, bool is_scaled,
                const pybind11::object& lists);

  // Raises if there are none for variables of this dtype.
  void Require(DType dtype) const;

  // The numbers for variables of this dtype, not rounded.
  const double* Of(DType dtype) const { return numbers_[Index(dtype)].data(); }

 private:
  static size_t Index(DType dtype) { return dtype == DType::kF64 ? 1 : 0; }

  const char* op_ = nullptr;
  const char* argument_ = nullptr;
  std::array<std::array<double, kMaxHypers>, 2> numbers_{};
  std::array<bool, 2> is_given_{};
};

}  // namespace slotwise
