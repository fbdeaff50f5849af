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

#include <limits>

#include "core/exact_sum.h"
#include "simd/row-inl.h"
#include "simd/walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// A vector of row k times its weight, from element i on.
template <class Codec, class Rows, class D>
HWY_INLINE hn::VFromD<D> Term(D d, const Rows& rows, size_t k, size_t i) {
  const auto row = Codec::Load(d, rows.Row(k) + i);
  if constexpr (Rows::kWeighted) {
    return hn::Mul(row, hn::Set(d, rows.Weight(k)));
  } else {
    return row;
  }
}

// Where the vector comes that is number `vector` after element i.
template <class D>
HWY_INLINE size_t At(D d, size_t i, size_t vector) {
  return i + vector * hn::Lanes(d);
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
  if constexpr (kMost > 2) {
    for (; i + 2 * kLanesEach <= width; i += 2 * kLanesEach) body.template Walk<2>(d, i);
  }
  WalkAll<T>(body, width, i);
}

// The sum of `count` rows, one at least, in order. Rows are read once if they are not longer than
// eight vectors. `sink(d, i, sum)` takes a vector of it.
template <class Codec, class Rows, class Sink>
struct RowSum {
  const Rows& rows;
  size_t count;
  const Sink& sink;

  template <size_t kVectors, class D>
  HWY_INLINE void Walk(D d, size_t i) const {
    hn::VFromD<D> sums[kVectors];
    if (i == 0) rows.Fetch(0);
    for (size_t j = 0; j < kVectors; ++j) sums[j] = Term<Codec>(d, rows, 0, At(d, i, j));
    for (size_t k = 1; k < count; ++k) {
      if (i == 0) rows.Fetch(k);
      for (size_t j = 0; j < kVectors; ++j) {
        sums[j] = hn::Add(sums[j], Term<Codec>(d, rows, k, At(d, i, j)));
      }
    }
    for (size_t j = 0; j < kVectors; ++j) sink(d, At(d, i, j), sums[j]);
  }

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    Walk<1>(d, i);
  }
};

// The same sum as if nothing were rounded before its end: sums in float64, with the error of each
// addition carried along. Elements whose carried error was rounded itself are summed by ExactSum.
template <class Codec, class Rows>
struct ExactRowSum {
  using Compute = typename Codec::Compute;

  const Rows& rows;
  size_t count;  // at least 2
  Compute* out;

  template <size_t kVectors, class D>
  HWY_INLINE void Walk(D d, size_t i) const {
    using V = hn::VFromD<D>;
    const hn::RebindToUnsigned<D> du;
    V sums[kVectors], errors[kVectors];
    hn::VFromD<decltype(du)> inexact[kVectors];
    for (size_t j = 0; j < kVectors; ++j) {
      sums[j] = errors[j] = hn::Zero(d);
      inexact[j] = hn::Zero(du);
    }
    for (size_t k = 0; k < count; ++k) {
      if (i == 0) rows.Fetch(k);
      for (size_t j = 0; j < kVectors; ++j) {
        const V term = WideTerm(d, k, At(d, i, j));
        const V error = AddTo(sums[j], term);
        const V lost = AddTo(errors[j], error);
        inexact[j] = hn::Or(inexact[j], hn::BitCast(du, lost));
        if constexpr (sizeof(Compute) == sizeof(double)) {
          inexact[j] = hn::Or(inexact[j], hn::BitCast(du, TooSmall(d, term)));
        }
      }
    }
    for (size_t j = 0; j < kVectors; ++j) {
      Finish(d, At(d, i, j), sums[j], errors[j], inexact[j]);
    }
  }

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    Walk<1>(d, i);
  }

 private:
  template <class D>
  HWY_INLINE hn::VFromD<D> WideTerm(D d, size_t k, size_t i) const {
    if constexpr (sizeof(Compute) == sizeof(double)) {
      return Term<Codec>(d, rows, k, i);
    } else {
      return hn::PromoteTo(d, Term<Codec>(hn::Rebind<float, D>(), rows, k, i));
    }
  }

  // Adds to a sum. Returns what the addition lost.
  template <class V>
  static HWY_INLINE V AddTo(V& sum, V term) {
    const V before = sum;
    sum = hn::Add(before, term);
    const V added = hn::Sub(sum, before);
    return hn::Add(hn::Sub(before, hn::Sub(sum, added)), hn::Sub(term, added));
  }

  // Not 0 where an error may be a denormal, which is flushed.
  template <class D>
  static HWY_INLINE hn::VFromD<D> TooSmall(D d, hn::VFromD<D> term) {
    const auto size = hn::Abs(term);
    return hn::IfThenElseZero(hn::Lt(size, hn::Set(d, 0x1p-960)), size);
  }

  template <class D>
  HWY_INLINE void Finish(D d, size_t i, hn::VFromD<D> sum, hn::VFromD<D> error,
                         hn::VFromD<hn::RebindToUnsigned<D>> inexact) const {
    const hn::RebindToUnsigned<D> du;
    if (!hn::AllTrue(du, hn::Eq(inexact, hn::Zero(du)))) return Slowly(i, hn::Lanes(d));
    const auto lost = AddTo(sum, error);
    if constexpr (sizeof(Compute) == sizeof(double)) {
      hn::StoreU(sum, d, out + i);
    } else {
      constexpr double kLargest = std::numeric_limits<Compute>::max();
      if (!hn::AllFalse(d, hn::Gt(hn::Abs(sum), hn::Set(d, kLargest)))) {
        return Slowly(i, hn::Lanes(d));  // not all targets round it to infinity
      }
      // Rounded to an odd number, it can be rounded again to one of half the bits.
      const auto one = hn::Set(du, 1u);
      const auto bits = hn::BitCast(du, sum);
      const auto apart = hn::ShiftRight<63>(hn::Xor(bits, hn::BitCast(du, lost)));
      const auto step = hn::Sub(hn::Sub(one, apart), apart);
      const auto is_due = hn::And(hn::RebindMask(du, hn::Ne(lost, hn::Zero(d))),
                                  hn::Eq(hn::And(bits, one), hn::Zero(du)));
      const auto odd = hn::BitCast(d, hn::Add(bits, hn::IfThenElseZero(is_due, step)));
      const hn::Rebind<float, D> df;
      hn::StoreU(hn::DemoteTo(df, odd), df, out + i);
    }
  }

  HWY_NOINLINE void Slowly(size_t begin, size_t lanes) const {
    const hn::CappedTag<Compute, 1> one;
    for (size_t i = begin; i < begin + lanes; ++i) {
      ExactSum sum;
      for (size_t k = 0; k < count; ++k) sum.Add(hn::GetLane(Term<Codec>(one, rows, k, i)));
      out[i] = sum.Rounded<Compute>();
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
