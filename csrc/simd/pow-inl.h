// SPDX-License-Identifier: Apache-2.0
// pow(x, y) for a vector x and one scalar y, as 2^(y * log2(x)), and exp(x) of one number: the same
// bits on every target.
//
// float32 goes through float64 with polynomials just long enough (within 0.51 ulp); float64 keeps
// log2(x) as an unevaluated sum of two doubles (within 1 ulp). x < 0, 0, inf and NaN behave as C's
// pow; subnormal operands count as zero. tests/ops/test_pow.py holds the results to their limits.

#if defined(SLOTWISE_SIMD_POW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_POW_INL_H_
#undef SLOTWISE_SIMD_POW_INL_H_
#else
#define SLOTWISE_SIMD_POW_INL_H_
#endif

#include <cmath>
#include <limits>

#include "simd/ops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Adding this to |x| < 2^51 rounds x to an integer, left in the low bits of the sum.
constexpr double kRoundToInteger = 0x1.8p52;

template <class V>
HWY_INLINE V Polynomial(V, double c0) {
  return Fill<V>(c0);
}
template <class V, class... C>
HWY_INLINE V Polynomial(V x, double c0, C... c) {
  return x * Polynomial(x, c...) + c0;
}

// x = 2^exponent * mantissa with mantissa in [sqrt(1/2), sqrt(2)), for normal x > 0.
template <class V>
HWY_INLINE void SplitExponent(V x, V& exponent, V& mantissa) {
  const hn::DFromV<V> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  constexpr uint64_t kOne = 0x3FF0000000000000u;
  constexpr uint64_t kSqrtHalf = 0x3FE6A09E667F3BCDu;
  const auto bits = hn::BitCast(du, x);
  const auto biased =
      hn::ShiftRight<52>(hn::Add(bits, hn::Set(du, kOne - kSqrtHalf)));  // exponent + 1023
  constexpr uint64_t kTwo52 = 0x4330000000000000u;
  exponent = hn::BitCast(d, hn::Or(biased, hn::Set(du, kTwo52))) - (0x1p52 + 1023);
  mantissa = hn::BitCast(d, hn::Add(hn::Sub(bits, hn::ShiftLeft<52>(biased)), hn::Set(du, kOne)));
}

// Keeps the leading 26 bits of the significand, so that products of two such values are exact.
template <class V>
HWY_INLINE V Leading26(V x) {
  const hn::DFromV<V> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  return hn::BitCast(d, hn::And(hn::BitCast(du, x), hn::Set(du, ~uint64_t{0} << 27)));
}

// 2^n for an integer |n| <= 1022 given as n + kRoundToInteger.
template <class V>
HWY_INLINE V Scale(V n_shifted) {
  const hn::DFromV<V> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const auto n = hn::ShiftLeft<52>(hn::BitCast(du, n_shifted));
  return hn::BitCast(d, hn::Add(n, hn::Set(du, uint64_t{1023} << 52)));
}

template <class V>
HWY_INLINE V Clamp(V x, double limit) {
  return hn::Min(hn::Max(x, Fill<V>(-limit)), Fill<V>(limit));
}

// 2^(y log2(x)) to about 2^-28 relative; under- and overflow at 2^-1000 and 2^1000.
template <class V>
HWY_INLINE V PowForF32(V x, double y) {
  V exponent, mantissa;
  SplitExponent(x, exponent, mantissa);
  const V s = (mantissa - 1.0) / (mantissa + 1.0);
  const V log2 =
      exponent + s * Polynomial(s * s, 0x1.71547652bed9dp+1, 0x1.ec709d13094a7p-1,
                                0x1.27777fd825af6p-1, 0x1.a58d86633111bp-2, 0x1.5ce91c1a94018p-2);
  const V power = Clamp(log2 * y, 1000);
  const V shifted = power + kRoundToInteger;
  const V f = power - (shifted - kRoundToInteger);
  const V exp2 =
      Polynomial(f, 0x1.0p+0, 0x1.62e430d034702p-1, 0x1.ebfbe045f4d3cp-3, 0x1.c6aecc669b6ddp-5,
                 0x1.3b2a1b7152befp-7, 0x1.5f48c04f62e50p-10, 0x1.443fffc90db59p-13);
  return exp2 * Scale(shifted);
}

// log2(k / 32) for k = 22 .. 46: a multiple of 2^-40, and the rest.
alignas(64) constexpr double kLog2High[25] = {-0x1.14c560fe68000p-1,
                                              -0x1.e7df5fe538000p-2,
                                              -0x1.a8ff971810000p-2,
                                              -0x1.6cb0f6865c000p-2,
                                              -0x1.32bfee3710000p-2,
                                              -0x1.f5fd8a9060000p-3,
                                              -0x1.8a8980abf8000p-3,
                                              -0x1.22dadc2ab0000p-3,
                                              -0x1.7d60496d00000p-4,
                                              -0x1.77394c9da0000p-5,
                                              0x0.0p+0,
                                              0x1.6bad3758e0000p-5,
                                              0x1.663f6fac90000p-4,
                                              0x1.08c588cda8000p-3,
                                              0x1.5c01a39fc0000p-3,
                                              0x1.acf5e2db50000p-3,
                                              0x1.fbc16b9028000p-3,
                                              0x1.24407ab0e0000p-2,
                                              0x1.49a784bcd0000p-2,
                                              0x1.6e221cd9d0000p-2,
                                              0x1.91bba891f0000p-2,
                                              0x1.b47ebf7388000p-2,
                                              0x1.d6753e0330000p-2,
                                              0x1.f7a8568cb0000p-2,
                                              0x1.0c10500d64000p-1};
alignas(64) constexpr double kLog2Low[25] = {-0x1.5f101c141e670p-42,
                                             -0x1.5669df6a2b592p-43,
                                             -0x1.4bc302ffa76fbp-43,
                                             -0x1.1d406db502403p-43,
                                             0x1.1979a5db68722p-42,
                                             -0x1.f1a4847f7b278p-42,
                                             -0x1.e9933354dbf17p-42,
                                             -0x1.a4b69691d7994p-42,
                                             0x1.12ce6312ebb82p-42,
                                             0x1.4e55443478fe0p-42,
                                             0x0.0p+0,
                                             0x1.fb0e626c0de13p-42,
                                             0x1.3167ccc538261p-44,
                                             -0x1.871a7610e40bdp-45,
                                             -0x1.4bc302ffa76fbp-42,
                                             -0x1.36c101ee13440p-43,
                                             -0x1.7f5dc57266758p-43,
                                             0x1.ce60916e52e91p-44,
                                             0x1.b8afe492bf6ffp-42,
                                             0x1.9bcaf1aa4168ap-43,
                                             0x1.708b4b2b5056cp-42,
                                             0x1.50520a377c7ecp-45,
                                             -0x1.5f101c141e670p-42,
                                             0x1.b3b3864c60011p-44,
                                             -0x1.5669df6a2b592p-43};

// 2^(y (high + low)) in float64, where |low| is below an ulp of |high|.
template <class V>
HWY_INLINE V PowerOfTwo(double y, V high, V low) {
  // The leading part of the product is exact.
  const V y_all = Fill<V>(y);
  const V y_high = Leading26(y_all);
  const V y_low = y_all - y_high;
  const V log_high = Leading26(high);
  const V log_low = (high - log_high) + low;
  const V power = Clamp(y_high * log_high, 1100);
  const V power_low = Clamp(y_low * log_high + y_all * log_low, 1);

  const V n = (power + kRoundToInteger) - kRoundToInteger;
  const V f = (power - n) + power_low;
  const V exp2 = f * Polynomial(f, 0x1.62e42fefa39efp-1, 0x1.ebfbdff82c599p-3, 0x1.c6b08d704a0c2p-5,
                                0x1.3b2ab6fba1c46p-7, 0x1.5d87fe78a51cap-10, 0x1.43091309d97dfp-13,
                                0x1.ffcbfc6767e5ap-17, 0x1.62bfd336c69b7p-20, 0x1.b524f9d4ab6c1p-24,
                                0x1.e608be3f3fe4fp-28, 0x1.e9d61f0506b56p-32) +
                 1.0;
  // In two steps, since n may be beyond the range of one factor.
  const V half_shifted = n * 0.5 + kRoundToInteger;
  const V other_half = n - (half_shifted - kRoundToInteger);
  return exp2 * Scale(half_shifted) * Scale(other_half + kRoundToInteger);
}

// 2^(y log2(x)) for normal x > 0, in float64.
template <class V>
HWY_INLINE V PowForF64(V x, double y) {
  const hn::DFromV<V> d;
  const hn::RebindToSigned<decltype(d)> di;
  V exponent, mantissa;
  SplitExponent(x, exponent, mantissa);

  // log2(x) = exponent + log2(c) + log2(mantissa / c), with c = k / 32 nearest to the mantissa.
  const V k_shifted = mantissa * 32.0 + kRoundToInteger;
  const V c = (k_shifted - kRoundToInteger) * (1.0 / 32);
  const auto row = hn::Sub(hn::And(hn::BitCast(di, k_shifted), hn::Set(di, 63)), hn::Set(di, 22));

  // s = (mantissa - c) / (mantissa + c) as s_high + s_low; |s| < 0.0112.
  const V difference = mantissa - c;
  const V sum_high = Leading26(mantissa + c);
  const V sum_low = (c - sum_high) + mantissa;
  const V inverse = 1.0 / (mantissa + c);
  const V s = difference * inverse;
  const V s_high = Leading26(s);
  const V s_low = ((difference - s_high * sum_high) - s_high * sum_low) * inverse;

  // log2((1 + s) / (1 - s)) = 2/ln(2) (s + s^3/3 + ...); everything exact lies in `high`.
  const V z = s * s;
  const V series = Polynomial(z, 0x1.ec709dc3a03fdp-1, 0x1.2776c50efa07bp-1, 0x1.a617624fe8e42p-2,
                              0x1.485c3eb38f486p-2);
  const V rest = s_high * 0x1.2b82fe1777d10p-27 + (s_low * 0x1.71547652b82fep+1 + s * z * series);
  const V leading = exponent + hn::GatherIndex(d, kLog2High, row);
  const V product = s_high * 0x1.7154764000000p+1;
  const V high = leading + product;
  const V low = ((leading - high) + product) + (hn::GatherIndex(d, kLog2Low, row) + rest);
  return PowerOfTwo(y, high, low);
}

#if HWY_TARGET == HWY_SCALAR
template <class V>
HWY_INLINE V PowForF32InParts(V, float);  // a lone lane needs no parts
#else
// Computed by halves: float64 lanes are twice as wide.
template <class V>
HWY_INLINE V PowForF32InParts(V x, float y) {
  const hn::DFromV<V> d;
  const hn::Half<decltype(d)> half;
  const hn::Rebind<double, decltype(half)> d64;
  const auto lower = PowForF32(hn::PromoteTo(d64, hn::LowerHalf(half, x)), y);
  const auto upper = PowForF32(hn::PromoteTo(d64, hn::UpperHalf(half, x)), y);
  return hn::Combine(d, Narrow(half, upper), Narrow(half, lower));
}
#endif

// x^y for positive x that is neither 0 nor inf nor NaN.
template <class V>
HWY_INLINE V PowPositive(V x, Lane<V> y) {
  const hn::DFromV<V> d;
  if constexpr (sizeof(y) == sizeof(double)) {
    return PowForF64(x, y);
  } else if constexpr (kLanes<decltype(d)> <= kLanes<hn::ScalableTag<double>>) {
    const hn::Rebind<double, decltype(d)> d64;
    return Narrow(d, PowForF32(hn::PromoteTo(d64, x), y));
  } else {
    return PowForF32InParts(x, y);
  }
}

// The exponent of a power, with what its special cases depend on.
template <class T>
struct Exponent {
  explicit Exponent(T y)
      : value(y), is_integer(std::trunc(y) == y), is_odd(std::fabs(std::fmod(y, T{2})) == 1) {}

  T value;
  bool is_integer;
  bool is_odd;
};

template <class V>
HWY_INLINE V Pow(V x, const Exponent<Lane<V>>& y) {
  using T = Lane<V>;
  constexpr T kInf = std::numeric_limits<T>::infinity();
  if (y.value == 0) return Fill<V>(1);
  const V magnitude = Abs(x);
  V power = PowPositive(magnitude, y.value);
  power = IfThenElse(magnitude == 0, Fill<V>(y.value > 0 ? 0 : kInf), power);
  power = IfThenElse(magnitude == kInf, Fill<V>(y.value > 0 ? kInf : 0), power);
  power = IfThenElse(IsNaN(x), x, power);
  if (y.is_odd) return CopySign(power, x);
  if (y.is_integer) return power;
  return IfThenElse(x < 0, Fill<V>(std::numeric_limits<T>::quiet_NaN()), power);
}

// e^x, within 1.1 ulp (tests/ops/test_exp.py).
HWY_INLINE double Exp(double x) {
  if (!std::isfinite(x)) return x < 0 ? 0 : x;
  using V = hn::Vec<hn::ScalableTag<double>>;
  constexpr double kLog2E = 0x1.71547652b82fep+0, kRest = 0x1.777d0ffda0d24p-56;
  return hn::GetLane(PowerOfTwo(x, Fill<V>(kLog2E), Fill<V>(kRest)));
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
