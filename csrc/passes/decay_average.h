// SPDX-License-Identifier: Apache-2.0
// What is done to a variable around its update: weight decay before, a moving average after.
#pragma once

#include <cstddef>

#include "core/types.h"

namespace slotwise {

// The stages, for elements [begin, begin + count) of the variable that starts at `var` and of its
// average.
void DecayWeights(DType dtype, const DecayAndAverage& how, size_t begin, size_t count, void* var);
void AverageWeights(DType dtype, const DecayAndAverage& how, size_t begin, size_t count, void* var);

// What a driver calls before it updates these elements, and after; null: nothing.
inline void BeforeUpdate(DType dtype, const DecayAndAverage* how, size_t begin, size_t count,
                         void* var) {
  if (how != nullptr && how->decays) DecayWeights(dtype, *how, begin, count, var);
}
inline void AfterUpdate(DType dtype, const DecayAndAverage* how, size_t begin, size_t count,
                        void* var) {
  if (how != nullptr && how->average != nullptr) {
    AverageWeights(dtype, *how, begin, count, var);
  }
}

}  // namespace slotwise
