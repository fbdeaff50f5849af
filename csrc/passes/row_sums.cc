// SPDX-License-Identifier: Apache-2.0
#include "passes/row_sums.h"

#include <algorithm>
#include <type_traits>

#include "core/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "passes/row_sums.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/row_sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Rows of gradients: one for each id; or its bag's, times its weight over the bag's divisor.
template <class Codec, bool kPooled>
class GradientRows {
 public:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  static constexpr bool kWeighted = kPooled;

  explicit GradientRows(const RowSumCall& call)
      : call_(call), data_(static_cast<const Stored*>(call.gradients.data)) {
    if constexpr (kPooled) {
      bags_ = call.gradients.pooled->bags;
      weights_ = static_cast<const Compute*>(call.gradients.pooled->weights);
      divisors_ = static_cast<const Compute*>(call.gradients.pooled->divisors);
    }
  }

  HWY_INLINE const Stored* Row(size_t k) const {
    size_t row = call_.positions[k];
    if constexpr (kPooled) row = bags_[row];
    return data_ + static_cast<int64_t>(row) * call_.gradients.stride;
  }

  HWY_INLINE Compute Weight(size_t k) const {
    const size_t id = call_.positions[k];
    const Compute weight = weights_ == nullptr ? 1 : weights_[id];
    return divisors_ == nullptr ? weight : weight / divisors_[bags_[id]];
  }

  HWY_INLINE void Fetch(size_t k) const {
    PrefetchRow(Row(std::min(k + kRowsAhead, call_.ahead - 1)), call_.width);
  }

 private:
  const RowSumCall& call_;
  const Stored* data_;
  const uint32_t* bags_ = nullptr;
  const Compute *weights_ = nullptr, *divisors_ = nullptr;
};

template <class T>
struct ToArray {
  T* to;

  template <class D>
  HWY_INLINE void operator()(D d, size_t i, hn::VFromD<D> sum) const {
    hn::StoreU(sum, d, to + i);
  }
};

template <class Codec, bool kPooled, bool kExact>
void SumOfRows(const RowSumCall& call) {
  using Compute = typename Codec::Compute;
  using Rows = GradientRows<Codec, kPooled>;
  const Rows rows(call);
  auto* const sum = static_cast<Compute*>(call.sum);
  if constexpr (kExact) {
    if (call.count > 1) {
      return ExactRowSum<Codec, Rows>(rows, call.count, sum, call.to_odd).Run(call.width);
    }
  }
  const ToArray<Compute> sink{sum};
  WalkByMany<8, Compute>(RowSum<Codec, Rows, ToArray<Compute>>{rows, 0, call.count, sink},
                         call.width);
}

struct RowSums {
  template <class Codec, bool kExact>
  static void Sum(const RowSumCall& call) {
    if (call.gradients.pooled == nullptr) {
      SumOfRows<Codec, false, kExact>(call);
    } else {
      SumOfRows<Codec, true, kExact>(call);
    }
  }

  static RowSumFunction Of(DType dtype, bool is_exact) {
    return WithCodec(dtype, [&](auto codec) -> RowSumFunction {
      using Codec = decltype(codec);
      return is_exact ? &Sum<Codec, true> : &Sum<Codec, false>;
    });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

RowSumFunction RowSumOf(DType dtype, bool is_exact) {
  static constexpr RowSumFunction (*kTable[])(DType, bool) = SLOTWISE_TABLE(RowSums::Of);
  return kTable[TargetIndex()](dtype, is_exact);
}

}  // namespace slotwise
#endif
