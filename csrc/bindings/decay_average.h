// SPDX-License-Identifier: Apache-2.0
// What UpdatePlan.apply does around the rule: weight decay and moving averages, as arguments.
#pragma once

#include "bindings/numbers_by_type.h"

namespace slotwise {

class DecayAverageArgument {
 public:
  // `decay` is None, or (weight decay, learning rate) by type. `average` is None, or (momentum,
  // overwrite).
  DecayAverageArgument(const char* op, const pybind11::object& decay,
                       const pybind11::object& average);

  bool decays() const { return decays_; }
  bool averages() const { return averages_; }

  // What is done around the update of a variable of this dtype, which decays if numbers for it were
  // given and `decays` says so, and whose average, if it has one, is at `average`. Raises if there
  // are no numbers for the dtype.
  DecayAndAverage For(DType dtype, bool decays, void* average) const;

 private:
  bool decays_, averages_;
  NumbersByType decay_;
  double momentum_ = 0;
  bool overwrites_ = false;
};

}  // namespace slotwise
