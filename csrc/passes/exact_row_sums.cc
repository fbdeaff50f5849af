// SPDX-License-Identifier: Apache-2.0
#include "core/targets.h"
#include "passes/row_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "passes/exact_row_sums.cc"
#include "hwy/foreach_target.h"
#include "passes/gradient_rows-inl.h"
#include "simd/dispatch.h"
#include "simd/exact_row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

struct ExactRowSums {
  template <class Codec, bool kPooled>
  static void Sum(const RowSumCall& call) {
    using Rows = GradientRows<Codec, kPooled>;
    auto* const sum = static_cast<typename Codec::Compute*>(call.sum);
    ExactRowSum<Codec, Rows>(Rows(call), call.count, sum, call.to_odd, call.unrounded)
        .Run(call.width);
  }

  template <class Codec>
  static void Apply(const RowSumCall& call) {
    call.gradients.pooled == nullptr ? Sum<Codec, false>(call) : Sum<Codec, true>(call);
  }

  static RowSumFunction Of(DType dtype) {
    return WithCodec(dtype, [](auto codec) -> RowSumFunction { return &Apply<decltype(codec)>; });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

RowSumFunction ExactRowSumOf(DType dtype) {
  static constexpr RowSumFunction (*kTable[])(DType) = SLOTWISE_TABLE(ExactRowSums::Of);
  return kTable[TargetIndex()](dtype);
}

}  // namespace slotwise
#endif
