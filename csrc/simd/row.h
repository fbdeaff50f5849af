// SPDX-License-Identifier: Apache-2.0
// Rows of a table, fetched ahead of their use. (No vectors: what has none calls it, too.)
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/base.h"

namespace slotwise {

// How many rows before its turn a row is fetched: about as many misses as a core has under way.
inline constexpr size_t kRowsAhead = 16;
// Of rows that are a cache line or two, that many are not enough memory.
constexpr size_t RowsAhead(size_t row_bytes) {
  return row_bytes >= 256 ? kRowsAhead : row_bytes >= 128 ? 2 * kRowsAhead : 4 * kRowsAhead;
}
inline constexpr size_t kMaxFetched = 512;  // bytes of a row: the hardware follows long ones

// Whether rows of this size may begin within a cache line.
inline bool AreRowsAcrossLines(const void* table, size_t row_bytes) {
  return (reinterpret_cast<uintptr_t>(table) | row_bytes) % 64 != 0;
}

// `across`: as above; true will do. (The row need not be there.)
template <class T>
HWY_INLINE void PrefetchRow(const T* row, size_t width, bool across = true) {
  const auto begin = reinterpret_cast<uintptr_t>(row);
  const size_t size = std::min(width * sizeof(T), kMaxFetched);
  // (Not in a function of its own: GCC would see no effect, and leave out the call.)
  for (size_t i = 0; i < size; i += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(begin + i));
  }
  if (across) __builtin_prefetch(reinterpret_cast<const char*>(begin + size - 1));
}

}  // namespace slotwise
