// SPDX-License-Identifier: Apache-2.0
// Sums that have the same bits on every target.

#if defined(SLOTWISE_SIMD_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_SUMS_INL_H_
#undef SLOTWISE_SIMD_SUMS_INL_H_
#else
#define SLOTWISE_SIMD_SUMS_INL_H_
#endif

#include "simd/walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Stored numbers as float64.
template <class Codec>
struct Widened {
  const typename Codec::Stored* in;

  template <class D>
  HWY_INLINE hn::VFromD<D> operator()(D d, size_t i) const {
    FetchAhead(in + i);
    if constexpr (sizeof(typename Codec::Compute) == sizeof(double)) {
      return Codec::Load(d, in + i);
    } else {
      return hn::PromoteTo(d, Codec::Load(hn::Rebind<float, D>(), in + i));
    }
  }
};

// Squares of stored numbers, as float64.
template <class Codec>
struct Squared {
  const typename Codec::Stored* in;

  template <class D>
  HWY_INLINE hn::VFromD<D> operator()(D d, size_t i) const {
    const auto x = Widened<Codec>{in}(d, i);
    return hn::Mul(x, x);
  }
};

// The sum of `count` terms: of 16 interleaved sums, folded in halves.
template <class T, class Term>
HWY_INLINE T SumOf(const Term& term, size_t count) {
  constexpr size_t kPartials = 16;
  const hn::CappedTag<T, kPartials> d;
  const hn::CappedTag<T, 1> one;
  alignas(64) T partial[kPartials];
  const size_t whole = count / kPartials * kPartials;
  for (size_t lane = 0; lane < kPartials; lane += hn::Lanes(d)) {
    auto sum = hn::Zero(d);
    for (size_t i = lane; i < whole; i += kPartials) sum = hn::Add(sum, term(d, i));
    hn::Store(sum, d, partial + lane);
  }
  for (size_t lane = 0; whole + lane < count; ++lane) {
    partial[lane] += hn::GetLane(term(one, whole + lane));
  }
  for (size_t half = kPartials / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) partial[lane] += partial[lane + half];
  }
  return partial[0];
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
