// SPDX-License-Identifier: Apache-2.0
#include "passes/row_sums.h"

#include "core/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "passes/row_sums.cc"
#include "hwy/foreach_target.h"
#include "passes/gradient_rows-inl.h"
#include "simd/dispatch.h"
#include "simd/row_sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class T>
struct ToArray {
  T* to;

  template <class D>
  HWY_INLINE void operator()(D d, size_t i, hn::VFromD<D> sum) const {
    hn::StoreU(sum, d, to + i);
  }
};

struct RowSums {
  template <class Codec, bool kPooled>
  static void Sum(const RowSumCall& call) {
    using Compute = typename Codec::Compute;
    using Rows = GradientRows<Codec, kPooled>;
    const Rows rows(call);
    const ToArray<Compute> sink{static_cast<Compute*>(call.sum)};
    WalkByMany<8, Compute>(RowSum<Codec, Rows, ToArray<Compute>>{rows, 0, call.count, sink},
                           call.width);
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

RowSumFunction RowSumOf(DType dtype) {
  static constexpr RowSumFunction (*kTable[])(DType) = SLOTWISE_TABLE(RowSums::Of);
  return kTable[TargetIndex()](dtype);
}

}  // namespace slotwise
#endif
