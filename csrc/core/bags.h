// SPDX-License-Identifier: Apache-2.0
// Bags of ids: what their sums are divided by, what they cost, and which of them an id is in.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/scratch.h"
#include "core/types.h"

namespace slotwise {

enum class OffsetsAre : uint8_t {
  kWrong,  // they do not ascend from 0 to the number of ids
  kAscending,
  kOneIdEach,  // 0, 1, 2, ... to that number
};

// Copies where bags begin, and the number of ids, which `offsets` may end with: `to` has room for
// one more.
OffsetsAre CopyOffsets(const int64_t* offsets, size_t count, bool has_end, size_t ids, int64_t* to);

// What the sum of ids [first, last) is divided by; 1 for an empty bag, whose sum is 0. Infinity for
// a bag whose weights have no sum: what is divided by it is 0, as by TensorFlow's div_no_nan.
template <class T, class Weight>
T PoolDivisor(Pooling mode, size_t first, size_t last, const Weight& weight_of) {
  if (mode == Pooling::kSum || first == last) return 1;
  T total = 0;
  for (size_t k = first; k < last; ++k) {
    const T weight = weight_of(k);
    total += mode == Pooling::kMean ? weight : weight * weight;
  }
  if (total == 0) return std::numeric_limits<T>::infinity();
  return mode == Pooling::kMean ? total : std::sqrt(total);
}

// The cost of bags, as work on groups is dealt out by it: a row for each id, and one for each bag.
struct BagCosts {
  BagCosts(const int64_t* bounds, size_t bags, size_t bytes)
      : count(bags), offsets(bounds), row_bytes(std::max(size_t{1}, bytes)) {}

  size_t Before(size_t bag) const { return (static_cast<size_t>(offsets[bag]) + bag) * row_bytes; }

  size_t count;
  const int64_t* offsets;
  size_t row_bytes;
};

// The bags of a batch of ids, as their gradients need them.
class Bags {
 public:
  // Bag b has ids [offsets[b], offsets[b + 1]). Weights are null, or of the type that `dtype` is
  // computed in. Ids that are `left_out` (empty: none is) are in no bag.
  Bags(DType dtype, Pooling mode, const int64_t* offsets, size_t bags, const void* weights,
       const std::vector<bool>& left_out = {});

  const PooledRows& view() const { return view_; }

 private:
  template <class T>
  void Fill(Pooling mode, const int64_t* offsets, size_t bags, const std::vector<bool>& left_out);

  Scratch memory_;  // of what the view shows
  PooledRows view_;
};

}  // namespace slotwise
