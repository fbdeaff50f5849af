// What UpdatePlan.apply does around the rule: weight decay and moving averages, as arguments.
#pragma once

#include "bindings/numbers_by_type.h"

namespace slotwise {

class DecayAverageArgument {
 public:
  // `decay`: None, or (weight decay, learning rate) by type. `average`: None, or (momentum,
  // overwrite).
  DecayAverageArgument(const char* op, const pybind11::object& decay,
                       const pybind11::object& average);

  bool decays() const { return decays_; }
  bool averages() const { return averages_; }

  // For a variable of this dtype, that decays if others do, and its average, if it has one. Raises
  // if there are no numbers for it.
  DecayAndAverage For(DType dtype, bool decays, void* average) const;

 private:
  bool decays_, averages_;
  NumbersByType decay_;
  double momentum_ = 0;
  bool overwrites_ = false;
};

}  // namespace slotwise
