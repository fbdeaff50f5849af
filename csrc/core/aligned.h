// SPDX-License-Identifier: Apache-2.0
// Memory that begins at a multiple of some power of two; Windows has functions of its own for it.
#pragma once

#include <cstddef>
#include <cstdlib>
#if defined(_WIN32)
#include <malloc.h>
#endif

namespace slotwise {

// The number of bytes is a multiple of the alignment. Null if there is not enough.
inline void* AllocateAligned(size_t alignment, size_t bytes) {
#if defined(_WIN32)
  return _aligned_malloc(bytes, alignment);
#else
  return std::aligned_alloc(alignment, bytes);
#endif
}

inline void FreeAligned(void* memory) {
#if defined(_WIN32)
  _aligned_free(memory);
#else
  std::free(memory);
#endif
}

}  // namespace slotwise
