// SPDX-License-Identifier: Apache-2.0
// Reading a strided array in C order.
#pragma once

#include "core/types.h"

namespace slotwise {

// Copies elements [begin, begin + count) of `array`, in C order, to `out`.
void CopyStrided(const StridedArray& array, size_t element_size, size_t begin, size_t count,
                 void* out);

}  // namespace slotwise
