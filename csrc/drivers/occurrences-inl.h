// SPDX-License-Identifier: Apache-2.0
// The gradients of rows where they occur, as one thread comes to them: what all that walk rows
// share.

#if defined(SLOTWISE_DRIVERS_OCCURRENCES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_OCCURRENCES_INL_H_
#undef SLOTWISE_DRIVERS_OCCURRENCES_INL_H_
#else
#define SLOTWISE_DRIVERS_OCCURRENCES_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "core/scratch.h"
#include "core/types.h"
#include "passes/row_sums.h"
#include "simd/codec-inl.h"
#include "simd/row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class Codec>
class Occurrences {
 public:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;

  // Of groups [begin, end) of a call that has gradients, groups and a width. `stores_sums`: they
  // are not only computed with, but rounded to the stored type.
  template <class Call>
  Occurrences(DType dtype, Duplicates duplicates, const Call& call, size_t end,
              bool stores_sums = false)
      : gradients_(call.gradients),
        width_(call.width),
        groups_(call.groups),
        last_(call.groups.offsets[end]),
        is_each_(duplicates == Duplicates::kSequential),
        to_odd_(stores_sums && !std::is_same_v<Stored, Compute>),
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
  void SumTo(size_t g, Compute* to) {
    const size_t first = groups_.offsets[g];
    Sum(first, groups_.offsets[g + 1] - first, to);
  }

 private:
  static constexpr size_t kNear = 4096 / sizeof(Compute);  // a row as long needs no memory

  HWY_INLINE const Compute* Gradient(size_t first, size_t count) {
    if constexpr (std::is_same_v<Stored, Compute>) {
      if (count == 1 && gradients_.pooled == nullptr) {  // it is there already
        PrefetchRow(Row(std::min(first + kRowsAhead, last_ - 1)), width_);
        return Row(first);
      }
    }
    Compute* const sum = Memory();
    Sum(first, count, sum);
    return sum;
  }

  HWY_INLINE const Stored* Row(size_t k) const {
    return static_cast<const Stored*>(gradients_.data) +
           static_cast<int64_t>(groups_.positions[k]) * gradients_.stride;
  }

  void Sum(size_t first, size_t count, Compute* to) const {
    (count == 1 ? one_of_ : sum_of_)(
        {gradients_, width_, groups_.positions + first, count, last_ - first, to, to_odd_});
  }

  Compute* Memory() {
    if (width_ <= kNear) return near_;
    if (far_ == nullptr) {
      memory_ = Scratch(Scratch::Size<Compute>(width_));
      far_ = memory_.Take<Compute>(width_);
    }
    return far_;
  }

  const RowGradients& gradients_;
  const size_t width_;
  const RowGroupsView& groups_;
  const size_t last_;  // of the positions that this thread comes to
  const bool is_each_, to_odd_;
  const RowSumFunction one_of_, sum_of_;  // of one id; of several
  Scratch memory_;
  Compute* far_ = nullptr;
  alignas(64) Compute near_[kNear];
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
