// SPDX-License-Identifier: Apache-2.0
// Sums of rows that lie anywhere: of a bag's, or of one row's gradients.
//
// Rows says which: it has
//   static constexpr bool kWeighted;     whether rows are multiplied by numbers
//   const Stored* Row(size_t k);         where row k lies
//   Compute Weight(size_t k);            the number
//   void Fetch(size_t k);                fetches what comes after row k

#if defined(SLOTWISE_SIMD_ROW_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_ROW_SUMS_INL_H_
#undef SLOTWISE_SIMD_ROW_SUMS_INL_H_
#else
#define SLOTWISE_SIMD_ROW_SUMS_INL_H_
#endif

#include "simd/row.h"
#include "simd/walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// A vector of a row times its weight.
template <class Codec, class Rows, class D>
HWY_INLINE hn::VFromD<D> Term(D d, const typename Codec::Stored* from,
                              typename Codec::Compute weight) {
  const auto row = Codec::Load(d, from);
  if constexpr (Rows::kWeighted) {
    return hn::Mul(row, hn::Set(d, weight));
  } else {
    return row;
  }
}

template <class Codec, class Rows>
HWY_INLINE typename Codec::Compute WeightOf(const Rows& rows, size_t k) {
  if constexpr (Rows::kWeighted) {
    return rows.Weight(k);
  } else {
    return 1;
  }
}

// The vector that is number `vector` from there on: a pointer, or the number of an element.
template <class D, class Place>
HWY_INLINE Place At(D d, Place begin, size_t vector) {
  return begin + vector * hn::Lanes(d);
}

// Calls body.Walk<n>(d, i) for n vectors at a time from element i on, for all of a row.
template <size_t kMost, class T, class Body>
HWY_INLINE void WalkByMany(const Body& body, size_t width) {
  const hn::ScalableTag<T> d;
  constexpr size_t kLanesEach = kLanes<hn::ScalableTag<T>>;
  size_t i = 0;
  for (; i + kMost * kLanesEach <= width; i += kMost * kLanesEach) {
    body.template Walk<kMost>(d, i);
  }
  if constexpr (kMost > 4) {
    for (; i + 2 * kLanesEach <= width; i += 2 * kLanesEach) body.template Walk<2>(d, i);
  }
  WalkAll<T>(body, width, i);
}

// The sum of rows [first, last), one at least, in order. Rows are read once if they are not longer
// than eight vectors. `sink(d, i, sum)` takes a vector of it.
template <class Codec, class Rows, class Sink>
struct RowSum {
  const Rows rows;  // (a copy, which the compiler can hold in registers)
  size_t first, last;
  const Sink& sink;

  template <size_t kVectors, class D>
  HWY_INLINE void Walk(D d, size_t i) const {
    hn::VFromD<D> sums[kVectors];
    if (i == 0) rows.Fetch(first);
    {
      const auto* const row = rows.Row(first) + i;
      const auto weight = WeightOf<Codec>(rows, first);
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) {
        sums[j] = Term<Codec, Rows>(d, At(d, row, j), weight);
      }
    }
    for (size_t k = first + 1; k < last; ++k) {
      if (i == 0) rows.Fetch(k);
      const auto* const row = rows.Row(k) + i;
      const auto weight = WeightOf<Codec>(rows, k);
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) {
        sums[j] = hn::Add(sums[j], Term<Codec, Rows>(d, At(d, row, j), weight));
      }
    }
    HWY_UNROLL(8)
    for (size_t j = 0; j < kVectors; ++j) sink(d, At(d, i, j), sums[j]);
  }

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    Walk<1>(d, i);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
