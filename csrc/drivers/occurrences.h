// SPDX-License-Identifier: Apache-2.0
// The gradients of rows where they occur, as one thread comes to them: what all that walk rows
// share.
#pragma once

#include <algorithm>
#include <cstddef>

#include "core/scratch.h"
#include "core/types.h"
#include "passes/row_sums.h"
#include "simd/row.h"

namespace slotwise {

class Occurrences {
 public:
  // Of groups [begin, end) of a call that has gradients, groups and a width. `stores_sums`: they
  // are not only computed with, but rounded to the stored type.
  template <class Call>
  Occurrences(DType dtype, Duplicates duplicates, const Call& call, size_t end,
              bool stores_sums = false)
      : gradients_(call.gradients),
        width_(call.width),
        groups_(call.groups),
        last_(call.groups.offsets[end]),
        element_(SizeOf(dtype)),
        sum_bytes_(width_ * ComputedSizeOf(dtype)),
        is_each_(duplicates == Duplicates::kSequential),
        to_odd_(stores_sums && element_ != ComputedSizeOf(dtype)),
        in_place_(element_ == ComputedSizeOf(dtype) && call.gradients.pooled == nullptr),
        one_of_(RowSumOf(dtype)),
        sum_of_(duplicates == Duplicates::kExact ? ExactRowSumOf(dtype) : one_of_) {}

  // Calls step(gradient) for what group g is to be updated by: the sum of its gradients, or each of
  // them in turn; in the type that is computed in.
  template <class Step>
  HWY_INLINE void ForGroup(size_t g, const Step& step) {
    const size_t first = groups_.offsets[g], last = groups_.offsets[g + 1];
    const size_t count = is_each_ ? 1 : last - first;
    for (size_t k = first; k < last; k += count) step(Gradient(k, count));
  }

  // The sum of the gradients of group g, in `to`.
  void SumTo(size_t g, void* to) {
    const size_t first = groups_.offsets[g];
    Sum(first, groups_.offsets[g + 1] - first, to);
  }

 private:
  HWY_INLINE const void* Gradient(size_t first, size_t count) {
    if (count == 1 && in_place_) {
      PrefetchRow(Row(std::min(first + kRowsAhead, last_ - 1)), width_ * element_);
      return Row(first);
    }
    void* const sum = Memory();
    Sum(first, count, sum);
    return sum;
  }

  HWY_INLINE const unsigned char* Row(size_t k) const {
    return static_cast<const unsigned char*>(gradients_.data) +
           static_cast<int64_t>(groups_.positions[k]) * gradients_.stride *
               static_cast<int64_t>(element_);
  }

  void Sum(size_t first, size_t count, void* to) const {
    (count == 1 ? one_of_ : sum_of_)(
        {gradients_, width_, groups_.positions + first, count, last_ - first, to, to_odd_});
  }

  void* Memory() {
    if (sum_bytes_ <= sizeof(near_)) return near_;
    if (far_ == nullptr) {
      memory_ = Scratch(Scratch::Size<unsigned char>(sum_bytes_));
      far_ = memory_.Take<unsigned char>(sum_bytes_);
    }
    return far_;
  }

  const RowGradients& gradients_;
  const size_t width_;
  const RowGroupsView& groups_;
  const size_t last_;                 // of the positions that this thread comes to
  const size_t element_, sum_bytes_;  // bytes of an element as stored; of a sum
  const bool is_each_, to_odd_;
  const bool in_place_;                   // a row's only gradient is there already
  const RowSumFunction one_of_, sum_of_;  // of one id; of several
  Scratch memory_;
  void* far_ = nullptr;
  alignas(64) unsigned char near_[4096];  // a sum as long needs no memory
};

}  // namespace slotwise
