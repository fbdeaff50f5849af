// SPDX-License-Identifier: Apache-2.0
// Rows of a table: fetched ahead of their use, and the occurrences of one in a batch.

#if defined(SLOTWISE_SIMD_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_ROW_INL_H_
#undef SLOTWISE_SIMD_ROW_INL_H_
#else
#define SLOTWISE_SIMD_ROW_INL_H_
#endif

#include <algorithm>
#include <utility>

#include "core/types.h"
#include "simd/codec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

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

// The gradients of one row, in order of appearance.
template <class Codec>
class Occurrences {
 public:
  using Stored = typename Codec::Stored;

  // The occurrences of group g. What comes after it, up to group `end`, is fetched on the way.
  template <class Call>
  Occurrences(const Call& call, size_t g, size_t end)
      : grad_(static_cast<const Stored*>(call.grad)),
        stride_(call.grad_stride),
        positions_(call.groups.positions + call.groups.offsets[g]),
        count_(call.groups.offsets[g + 1] - call.groups.offsets[g]),
        last_(call.groups.offsets[end] - call.groups.offsets[g] - 1) {}

  // Shows the first occurrence alone, from now on; `Next` goes on to the one after it. Returns how
  // many there are.
  HWY_INLINE size_t Single() { return std::exchange(count_, 1); }
  HWY_INLINE void Next() {
    ++positions_;
    --last_;
  }

  // A vector of occurrence k, from element i on.
  template <class D>
  HWY_INLINE hn::VFromD<D> Load(D d, size_t k, size_t i) const {
    if (i * sizeof(Stored) < kMaxFetched) {
      __builtin_prefetch(Row(std::min(k + kRowsAhead, last_)) + i);
    }
    return Codec::Load(d, Row(k) + i);
  }

  template <class D>
  HWY_INLINE hn::VFromD<D> Sum(D d, size_t i) const {
    auto sum = Load(d, 0, i);
    for (size_t k = 1; k < count_; ++k) sum = hn::Add(sum, Load(d, k, i));
    return sum;
  }

 private:
  HWY_INLINE const Stored* Row(size_t k) const {
    return grad_ + static_cast<int64_t>(positions_[k]) * stride_;
  }

  const Stored* grad_;
  int64_t stride_;
  const uint32_t* positions_;
  size_t count_, last_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
