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

#include <cmath>

#include "core/exact_sum.h"
#include "simd/row-inl.h"
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
  if constexpr (kMost > 2) {
    for (; i + 2 * kLanesEach <= width; i += 2 * kLanesEach) body.template Walk<2>(d, i);
  }
  WalkAll<T>(body, width, i);
}

// The sum of rows [first, last), one at least, in order. Rows are read once if they are not longer
// than eight vectors. `sink(d, i, sum)` takes a vector of it.
template <class Codec, class Rows, class Sink>
struct RowSum {
  const Rows& rows;
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

// The same sum as if nothing were rounded before its end: sums in float64, with the error of each
// addition carried along. Elements whose carried error was rounded itself are summed by ExactSum.
template <class Codec, class Rows>
struct ExactRowSum {
  using Compute = typename Codec::Compute;

  const Rows& rows;
  size_t count;  // at least 2
  Compute* out;
  bool to_odd;  // what comes of float32 will be rounded once more

  template <size_t kVectors, class D>
  HWY_INLINE void Walk(D d, size_t i) const {
    using V = hn::VFromD<D>;
    const hn::RebindToUnsigned<D> du;
    V sums[kVectors], errors[kVectors];
    hn::VFromD<decltype(du)> inexact[kVectors];
    HWY_UNROLL(8)
    for (size_t j = 0; j < kVectors; ++j) {
      sums[j] = errors[j] = hn::Zero(d);
      inexact[j] = hn::Zero(du);
    }
    for (size_t k = 0; k < count; ++k) {
      if (i == 0) rows.Fetch(k);
      const auto* const row = rows.Row(k) + i;
      const auto weight = WeightOf<Codec>(rows, k);
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j) {
        const V term = WideTerm(d, At(d, row, j), weight);
        const V error = AddTo(sums[j], term);
        const V lost = AddTo(errors[j], error);
        inexact[j] = hn::Or(inexact[j], hn::BitCast(du, lost));
        if constexpr (sizeof(Compute) == sizeof(double)) {
          inexact[j] = hn::Or(inexact[j], hn::BitCast(du, TooSmall(d, term)));
        }
      }
    }
    HWY_UNROLL(8)
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
  static HWY_INLINE hn::VFromD<D> WideTerm(D d, const typename Codec::Stored* from,
                                           Compute weight) {
    if constexpr (sizeof(Compute) == sizeof(double)) {
      return Term<Codec, Rows>(d, from, weight);
    } else {
      return hn::PromoteTo(d, Term<Codec, Rows>(hn::Rebind<float, D>(), from, weight));
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
      // Rounded to an odd number, it can be rounded again to one of half the bits.
      const auto one = hn::Set(du, 1u);
      const auto bits = hn::BitCast(du, sum);
      const auto apart = hn::ShiftRight<63>(hn::Xor(bits, hn::BitCast(du, lost)));
      const auto step = hn::Sub(hn::Sub(one, apart), apart);
      const auto is_due = hn::And(hn::RebindMask(du, hn::Ne(lost, hn::Zero(d))),
                                  hn::Eq(hn::And(bits, one), hn::Zero(du)));
      const auto odd = hn::BitCast(d, hn::Add(bits, hn::IfThenElseZero(is_due, step)));
      const hn::Rebind<float, D> df;
      if (to_odd) return NarrowToOdd(df, odd, out + i);
      hn::StoreU(Narrow(df, odd), df, out + i);
    }
  }

  // Of the two numbers around `wide`, the one that is odd.
  template <class DF, class V>
  static HWY_INLINE void NarrowToOdd(DF df, V wide, Compute* to) {
    const hn::Rebind<double, DF> d;
    const hn::RebindToUnsigned<DF> du;
    const auto one = hn::Set(du, 1u);
    const auto nearest = Narrow(df, wide);
    const auto back = hn::PromoteTo(d, nearest);
    HWY_ALIGN uint32_t is_beyond[kLanes<DF>];
    HWY_ALIGN uint32_t is_other[kLanes<DF>];
    HWY_ALIGN double wides[kLanes<DF>], backs[kLanes<DF>];
    hn::Store(wide, d, wides);
    hn::Store(back, d, backs);
    for (size_t k = 0; k < kLanes<DF>; ++k) {
      is_beyond[k] = std::fabs(backs[k]) > std::fabs(wides[k]) ? 1 : 0;
      is_other[k] = backs[k] != wides[k] ? 1 : 0;
    }
    // Towards 0 where it was rounded away from it, and odd where it was rounded.
    const auto bits = hn::Sub(hn::BitCast(du, nearest), hn::Load(du, is_beyond));
    const auto odd = hn::Or(bits, hn::And(hn::Load(du, is_other), one));
    hn::StoreU(hn::BitCast(df, odd), df, to);
  }

  HWY_NOINLINE void Slowly(size_t begin, size_t lanes) const {
    const hn::CappedTag<Compute, 1> one;
    for (size_t i = begin; i < begin + lanes; ++i) {
      ExactSum sum;
      for (size_t k = 0; k < count; ++k) {
        const auto weight = WeightOf<Codec>(rows, k);
        sum.Add(hn::GetLane(Term<Codec, Rows>(one, rows.Row(k) + i, weight)));
      }
      out[i] = sum.Rounded<Compute>(to_odd);
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
