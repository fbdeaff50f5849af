// SPDX-License-Identifier: Apache-2.0
// Rows of a table, fetched ahead of their use. (No vectors: what has none calls it, too.)
#pragma once

#include <algorithm>
#include <cstddef>

#include "hwy/base.h"

namespace slotwise {

// How many rows before its turn a row is fetched: about as many misses as a core has under way.
inline constexpr size_t kRowsAhead = 16;
inline constexpr size_t kMaxFetched = 512;  // bytes of a row: the hardware follows long ones

template <class T>
HWY_INLINE void PrefetchRow(const T* row, size_t width) {
  const auto* bytes = reinterpret_cast<const char*>(row);
  const size_t size = std::min(width * sizeof(T), kMaxFetched);
  for (size_t i = 0; i < size; i += 64) __builtin_prefetch(bytes + i);
  __builtin_prefetch(bytes + size - 1);
}

}  // namespace slotwise
