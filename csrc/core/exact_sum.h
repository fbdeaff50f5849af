// SPDX-License-Identifier: Apache-2.0
// A sum of float64 numbers that is rounded once, at its end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace slotwise {

// Sums before they are rounded: sums[i] + errors[i] is exact where inexact[i] is 0.
struct UnroundedSums {
  double *sums, *errors;
  uint64_t* inexact;
};

// A fixed-point number with a bit for each that a float64 can have, and some above them for
// carries. The order of additions does not matter. Denormals count as 0, as in all kernels.
class ExactSum {
 public:
  void Add(double term);

  // The nearest T (ties to even), float or double; or, `to_odd`, of the two that it lies between
  // the one whose last bit is 1, which can be rounded again to a type of fewer bits. NaN if any
  // term was NaN, or if infinities of both signs were added; +0 if there is nothing left.
  template <class T>
  T Rounded(bool to_odd = false) const;

 private:
  // Of 32 bits each, digit 0 counting units of 2^-1074; they may be negative, and carry later.
  static constexpr size_t kDigits = 68;
  using Digits = std::array<int64_t, kDigits>;

  static void Carry(Digits& digits);

  Digits digits_{};
  uint32_t added_ = 0;  // terms since digits were last carried
  double special_ = 0;  // the sum of what is infinite or NaN
};

}  // namespace slotwise
