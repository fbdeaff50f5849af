// Copying less than a vector: a call of memcpy takes longer.
#pragma once

#include <cstddef>

namespace slotwise {

// At most 63, and an even number of them.
void CopyFewBytes(const void* from, size_t bytes, void* to);

}  // namespace slotwise
