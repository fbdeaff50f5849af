// SPDX-License-Identifier: Apache-2.0
// The rows of gradients that a sum is made of.

#if defined(SLOTWISE_PASSES_GRADIENT_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_PASSES_GRADIENT_ROWS_INL_H_
#undef SLOTWISE_PASSES_GRADIENT_ROWS_INL_H_
#else
#define SLOTWISE_PASSES_GRADIENT_ROWS_INL_H_
#endif

#include <algorithm>

#include "passes/row_sums.h"
#include "simd/codec-inl.h"
#include "simd/row.h"

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

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
