// SPDX-License-Identifier: Apache-2.0
// What the variants of centered RMSProp share.

#if defined(SLOTWISE_RULES_RMS_PROP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_RULES_RMS_PROP_INL_H_
#undef SLOTWISE_RULES_RMS_PROP_INL_H_
#else
#define SLOTWISE_RULES_RMS_PROP_INL_H_
#endif

#include <limits>

#include "drivers/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// A step that is scaled by the root of ms - mg^2, `root_of`. Rounding can make that negative; such
// a gradient has no scale: no step.
template <class V>
HWY_INLINE V StepIfScaled(V root_of, V mg, V step) {
  const auto is_rounded = And(root_of < 0, Abs(mg) < std::numeric_limits<Lane<V>>::infinity());
  return IfThenZeroElse(is_rounded, step);
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
