// SPDX-License-Identifier: Apache-2.0
// The words that rules are written in: arithmetic of vectors with scalars, and the few functions
// whose meaning at zero and NaN matters.

#if defined(SLOTWISE_SIMD_OPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_OPS_INL_H_
#undef SLOTWISE_SIMD_OPS_INL_H_
#else
#define SLOTWISE_SIMD_OPS_INL_H_
#endif

#include <limits>

#include "simd/compat-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

using hn::Abs;
using hn::And;
using hn::CopySign;
using hn::IfThenElse;
using hn::IfThenElseZero;
using hn::IfThenZeroElse;
using hn::IsNaN;
using hn::Or;
using hn::Sqrt;

template <class V>
HWY_INLINE V Fill(Lane<V> x) {
  return hn::Set(hn::DFromV<V>(), x);
}

template <class V>
HWY_INLINE V operator+(V a, Lane<V> b) {
  return hn::Add(a, Fill<V>(b));
}
template <class V>
HWY_INLINE V operator+(Lane<V> a, V b) {
  return hn::Add(Fill<V>(a), b);
}
template <class V>
HWY_INLINE V operator-(V a, Lane<V> b) {
  return hn::Sub(a, Fill<V>(b));
}
template <class V>
HWY_INLINE V operator*(V a, Lane<V> b) {
  return hn::Mul(a, Fill<V>(b));
}
template <class V>
HWY_INLINE V operator*(Lane<V> a, V b) {
  return hn::Mul(Fill<V>(a), b);
}
template <class V>
HWY_INLINE V operator/(V a, Lane<V> b) {
  return hn::Div(a, Fill<V>(b));
}
template <class V>
HWY_INLINE V operator/(Lane<V> a, V b) {
  return hn::Div(Fill<V>(a), b);
}
// (The type of the result comes last: that of a V which is no vector must not be asked for.)
template <class V>
HWY_INLINE auto operator<(V a, Lane<V> b) -> MaskOf<V> {
  return hn::Lt(a, Fill<V>(b));
}
template <class V>
HWY_INLINE auto operator>(V a, Lane<V> b) -> MaskOf<V> {
  return hn::Gt(a, Fill<V>(b));
}
template <class V>
HWY_INLINE auto operator==(V a, Lane<V> b) -> MaskOf<V> {
  return hn::Eq(a, Fill<V>(b));
}

// -1, +0 or +1; NaN gives NaN.
template <class V>
HWY_INLINE V Sign(V x) {
  const V one = CopySign(Fill<V>(1), x);
  return IfThenElse(IsNaN(x), x, IfThenZeroElse(x == 0, one));
}

// Subnormals become zero, as the result of an operation does.
template <class V>
HWY_INLINE V Flushed(V x) {
  return IfThenElse(x == 0, CopySign(Fill<V>(0), x), x);
}

// The larger (smaller) one; the first survives ties and comparisons with NaN. (Not so Highway's Max
// and Min, which argument-dependent lookup would prefer if these had their names.)
template <class V>
HWY_INLINE V FirstMax(V a, V b) {
  return Flushed(IfThenElse(a < b, b, a));
}
template <class V>
HWY_INLINE V FirstMin(V a, V b) {
  return Flushed(IfThenElse(b < a, b, a));
}

// 1 / sqrt(x), by two correctly rounded operations.
template <class V>
HWY_INLINE V Rsqrt(V x) {
  return 1 / Sqrt(x);
}

template <class V>
HWY_INLINE MaskOf<V> BothZero(V a, V b) {
  return And(a == 0, b == 0);
}

// numerator / denominator, where 0 / 0 is 0: an update that has no value is no update.
template <class V>
HWY_INLINE V Quotient(V numerator, V denominator) {
  return IfThenZeroElse(BothZero(numerator, denominator), numerator / denominator);
}

// numerator / (root + epsilon), the same way. No root is negative, so with a positive epsilon (that
// is not flushed) there is nothing to check.
template <class V>
HWY_INLINE V QuotientOfRoot(V numerator, V root, Lane<V> epsilon) {
  if (epsilon >= std::numeric_limits<Lane<V>>::min()) return numerator / (root + epsilon);
  return Quotient(numerator, root + epsilon);
}

// The quotient of coefficients, the same way.
template <class T>
T ScalarQuotient(T numerator, T denominator) {
  return numerator == 0 && denominator == 0 ? 0 : numerator / denominator;
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
