// SPDX-License-Identifier: Apache-2.0
// Sums of the gradients that one row has.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/exact_sum.h"
#include "core/types.h"

namespace slotwise {

// sum[i] = the sum of the gradients of ids positions[0], ... positions[count - 1], one at least, of
// `width` elements each, in the type that is computed in. What positions[count] to
// positions[ahead - 1] say is fetched on the way. An exact sum that will be rounded once more, to a
// stored type, is rounded `to_odd`.
struct RowSumCall {
  const RowGradients& gradients;
  size_t width;
  const uint32_t* positions;
  size_t count, ahead;
  void* sum;
  bool to_odd;
  const UnroundedSums* unrounded = nullptr;  // of an exact sum: where it is put in place of `sum`
};
using RowSumFunction = void (*)(const RowSumCall&);

// What sums gradients of this dtype in order; and exactly, of two ids at least.
RowSumFunction RowSumOf(DType dtype);
RowSumFunction ExactRowSumOf(DType dtype);

}  // namespace slotwise
