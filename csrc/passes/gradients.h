// SPDX-License-Identifier: Apache-2.0
// Operations on gradients that are no update: clipping them and measuring them.
#pragma once

#include <cstddef>
#include <vector>

#include "core/types.h"

namespace slotwise {

// Copies elements [begin, begin + count) of `grad`, in C order and transformed (null: as they are).
void ReadGradient(DType dtype, const StridedArray& grad, const GradTransform* transform,
                  size_t begin, size_t count, void* out);

// The same elements: where they lie, if they can be read there, else a copy in `block`.
const void* GradientSpan(DType dtype, const StridedArray& grad, const GradTransform* transform,
                         size_t begin, size_t count, void* block);

// A gradient to measure.
struct Measured {
  DType dtype;
  size_t count;
  StridedArray grad;
  const GradTransform* transform;  // null: none
};

// The sum of squares of each, in double precision. The order of summation depends on the number
// of elements only, so the sums have the same bits for any number of threads.
std::vector<double> SumsOfSquares(const std::vector<Measured>& gradients);

}  // namespace slotwise
