// SPDX-License-Identifier: Apache-2.0
// A set of rows of a table: one bit for each.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/types.h"

namespace slotwise {

class RowSet {
 public:
  RowSet(size_t rows, const RowGroupsView& groups) : words_((rows + 63) / 64) {
    for (size_t g = 0; g < groups.groups; ++g) {
      const auto row = static_cast<size_t>(groups.rows[g]);
      words_[row / 64] |= uint64_t{1} << row % 64;
    }
  }

  // The first row of [from, end) that is in the set (is not), or `end`.
  size_t FirstInside(size_t from, size_t end) const { return First(from, end, 0); }
  size_t FirstOutside(size_t from, size_t end) const { return First(from, end, ~uint64_t{0}); }

 private:
  size_t First(size_t from, size_t end, uint64_t flip) const {
    if (from >= end) return end;
    uint64_t word = (words_[from / 64] ^ flip) >> from % 64 << from % 64;
    size_t base = from / 64 * 64;
    while (word == 0) {
      base += 64;
      if (base >= end) return end;
      word = words_[base / 64] ^ flip;
    }
    return std::min(end, base + static_cast<size_t>(__builtin_ctzll(word)));
  }

  std::vector<uint64_t> words_;
};

}  // namespace slotwise
