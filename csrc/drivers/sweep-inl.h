// SPDX-License-Identifier: Apache-2.0
// The sweep driver: where a sparse update means the whole table, the rows that no id names have a
// zero gradient, or are decayed and averaged only. It streams through all of them; the rows driver
// does the others.

#if defined(SLOTWISE_DRIVERS_SWEEP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_SWEEP_INL_H_
#undef SLOTWISE_DRIVERS_SWEEP_INL_H_
#else
#define SLOTWISE_DRIVERS_SWEEP_INL_H_
#endif

#include <algorithm>

#include "passes/decay_average.h"
#include "core/row_set.h"
#include "core/threads.h"
#include "core/zeros.h"
#include "drivers/span-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class R, class Codec>
class Sweep {
 public:
  explicit Sweep(const SweepCall& call)
      : call_(call), coefficients_(CoefficientsOf<R, typename Codec::Compute>(call)) {
    arrays_.var = static_cast<Stored*>(call.var);
    for (size_t i = 0; i < kMaxSlots; ++i) arrays_.slots[i] = static_cast<Stored*>(call.slots[i]);
  }

  void Run() const {
    const size_t row_bytes = call_.width * sizeof(Stored) * (1 + RuleSpan::kSlots);
    const size_t min_rows = std::max(size_t{1}, kMinBytesPerThread / row_bytes);
    ParallelFor({call_.rows, min_rows, 0, 1}, &Part, this);
  }

 private:
  using Stored = typename Codec::Stored;
  using RuleSpan = Span<R, Codec>;

  static void Part(const void* context, size_t begin, size_t end) {
    const Sweep& self = *static_cast<const Sweep*>(context);
    const RowSet& except = *self.call_.except;
    const size_t width = self.call_.width;
    for (size_t row = except.FirstOutside(begin, end); row < end;) {
      const size_t stop = except.FirstInside(row, end);
      self.Apply(row * width, stop * width);
      row = except.FirstOutside(stop, end);
    }
  }

  void Apply(size_t begin, size_t end) const {
    const size_t step = call_.decay_average == nullptr ? kZeroElements : kStagedBlock;
    const auto* const zeros = reinterpret_cast<const Stored*>(kZeros);
    while (begin < end) {
      const size_t count = std::min(step, end - begin);
      const Arrays<Stored> arrays = arrays_.template From<RuleSpan::kSlots>(begin, zeros);
      BeforeUpdate(call_.dtype, call_.decay_average, begin, count, call_.var);
      if (call_.untouched == Untouched::kAll) {
        RuleSpan::Apply(coefficients_, arrays, count);
      } else if constexpr (R::kSlotsAlone) {
        if (call_.untouched == Untouched::kSlots) {
          RuleSpan::template Apply<false>(coefficients_, arrays, count);
        }
      }
      AfterUpdate(call_.dtype, call_.decay_average, begin, count, call_.var);
      begin += count;
    }
  }

  const SweepCall& call_;
  typename RuleSpan::RuleUpdate::Coefficients coefficients_;
  Arrays<Stored> arrays_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
