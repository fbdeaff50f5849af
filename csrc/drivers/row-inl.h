// SPDX-License-Identifier: Apache-2.0
// The update of one row, by a gradient in the type that is computed in.

#if defined(SLOTWISE_DRIVERS_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_ROW_INL_H_
#undef SLOTWISE_DRIVERS_ROW_INL_H_
#else
#define SLOTWISE_DRIVERS_ROW_INL_H_
#endif

#include "drivers/update-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// The body of a walk along a row.
template <class R, class Codec>
struct RowBody {
  using RuleUpdate = Update<R, Codec>;
  const typename RuleUpdate::Coefficients& c;
  const Arrays<typename Codec::Stored, typename Codec::Compute>& row;

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    RuleUpdate::template StepAt<true>(d, c, row, i, hn::LoadU(d, row.grad + i));
  }
};

template <class R, class Codec>
HWY_INLINE void ApplyToRow(const typename Update<R, Codec>::Coefficients& c,
                           const Arrays<typename Codec::Stored, typename Codec::Compute>& row,
                           size_t width) {
  WalkAll<typename Codec::Compute>(RowBody<R, Codec>{c, row}, width);
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
