// SPDX-License-Identifier: Apache-2.0
// Copying less than a vector: a call of memcpy takes longer.
#pragma once

#include <cstddef>

namespace slotwise {

// Copies at most 63 bytes, an even number of them.
void CopyFewBytes(const void* from, size_t bytes, void* to);

}  // namespace slotwise
