// SPDX-License-Identifier: Apache-2.0
// The only file that knows what differs between Highway versions (1.0.3 to 1.4) and targets.
//
// "-inl.h" means vector code: the file is compiled once per target, inside HWY_NAMESPACE.

#if defined(SLOTWISE_SIMD_COMPAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_COMPAT_INL_H_
#undef SLOTWISE_SIMD_COMPAT_INL_H_
#else
#define SLOTWISE_SIMD_COMPAT_INL_H_
#endif

#include "hwy/cache_control.h"
#include "hwy/highway.h"

// Conversions between float16 and float32 by one instruction, exact for every bit pattern.
// (Highway's own fallback truncates in 1.0.3, and promotes inf and NaN to other values.)
#undef SLOTWISE_NATIVE_F16
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)
#define SLOTWISE_NATIVE_F16 1
#else
#define SLOTWISE_NATIVE_F16 0
#endif

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class V>
using Lane = hn::TFromD<hn::DFromV<V>>;

template <class D>
constexpr size_t kLanes = hn::MaxLanes(D());

// float64 to float32 lanes, rounded to nearest; what is too large becomes inf.
template <class D, class V>
HWY_INLINE hn::VFromD<D> Narrow(D d, V v) {
#if HWY_TARGET == HWY_SCALAR  // whose DemoteTo saturates to the largest finite number
  return hn::Set(d, static_cast<float>(hn::GetLane(v)));
#elif HWY_TARGET == HWY_EMU128  // the same
  HWY_ALIGN double wide[kLanes<D>];
  HWY_ALIGN float narrow[kLanes<D>];
  hn::Store(v, hn::Rebind<double, D>(), wide);
  for (size_t i = 0; i < kLanes<D>; ++i) narrow[i] = static_cast<float>(wide[i]);
  return hn::Load(d, narrow);
#else
  return hn::DemoteTo(d, v);
#endif
}

// The larger one of x and a bound; NaN stays NaN.
template <class V>
HWY_INLINE V AtLeast(V x, Lane<V> bound) {
  const V least = hn::Set(hn::DFromV<V>(), bound);
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  return hn::Max(least, x);  // one instruction, whose result is its second operand if that is NaN
#else
  return hn::IfThenElse(hn::Lt(x, least), least, x);
#endif
}

template <class V>
using MaskOf = decltype(hn::Lt(V(), V()));

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
