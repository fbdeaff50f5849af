// SPDX-License-Identifier: Apache-2.0
// The walk over a run of elements by vectors, the last ones smaller.

#if defined(SLOTWISE_SIMD_WALK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_WALK_INL_H_
#undef SLOTWISE_SIMD_WALK_INL_H_
#else
#define SLOTWISE_SIMD_WALK_INL_H_
#endif

#include "simd/codec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// How many elements a tag asks for.
template <class D>
HWY_INLINE size_t Elements(D d) {
  return hn::Lanes(d);
}
template <class D>
HWY_INLINE size_t Elements(PairTag<D>) {
  return 2 * hn::Lanes(D());
}

// Calls body(d, i) for vectors of T that cover [i, count): full ones, then ever smaller ones.
// (Masked tails may touch memory past the end on most targets.)
template <class Body, class D>
HWY_INLINE size_t Walk(const Body& body, D d, size_t i, size_t count) {
  for (; i + Elements(d) <= count; i += Elements(d)) body(d, i);
  return i;
}

template <class T, class Body>
HWY_INLINE void WalkAll(const Body& body, size_t count, size_t i = 0) {
  constexpr size_t kFull = kLanes<hn::ScalableTag<T>>;
  i = Walk(body, hn::ScalableTag<T>(), i, count);
  if constexpr (kFull > 8) i = Walk(body, hn::CappedTag<T, 8>(), i, count);
  if constexpr (kFull > 4) i = Walk(body, hn::CappedTag<T, 4>(), i, count);
  if constexpr (kFull > 1) Walk(body, hn::CappedTag<T, 1>(), i, count);
}

// The body of a walk that rounds computed numbers to the type that is stored.
template <class Codec>
struct RoundTo {
  const typename Codec::Compute* from;
  typename Codec::Stored* to;

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    Codec::Store(d, hn::LoadU(d, from + i), to + i);
  }
};

// Fetches what lies ahead of a vector: keeps memory busy over page ends, where the hardware's own
// prefetching stops, and while a division holds up the loop.
HWY_INLINE void FetchAhead(const void* from) {
  constexpr size_t kBytesAhead = 2048;
  // The address may lie past the array, where no pointer may point.
  hwy::Prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(from) + kBytesAhead));
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
