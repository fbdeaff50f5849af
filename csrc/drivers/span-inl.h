// SPDX-License-Identifier: Apache-2.0
// The update of a run of contiguous elements: what the dense driver and the sweep share.

#if defined(SLOTWISE_DRIVERS_SPAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_SPAN_INL_H_
#undef SLOTWISE_DRIVERS_SPAN_INL_H_
#else
#define SLOTWISE_DRIVERS_SPAN_INL_H_
#endif

#include <cstring>
#include <type_traits>

#include "core/few_bytes.h"
#include "drivers/update-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class R, class Codec>
class Span {
 public:
  using Stored = typename Codec::Stored;
  using RuleUpdate = Update<R, Codec>;
  using Coefficients = typename RuleUpdate::Coefficients;
  static constexpr size_t kSlots = RuleUpdate::kSlots;

  // Full vectors start on cache lines of var (of the first slot without kVar); so do those of the
  // other arrays, as a rule, since allocators give large arrays the same offset.
  //
  // What is left before and after them is less than a vector: it is updated in a copy of its own.
  // So there is one loop, whatever the lengths, and the rule is compiled once.
  template <bool kVar = true>
  static HWY_INLINE void Apply(const Coefficients& coefficients, const Arrays<Stored>& arrays,
                               size_t count) {
    const Coefficients c = coefficients;  // a copy that stores to arrays cannot alias
    const Stored* const first = kVar ? arrays.var : arrays.slots[0];
    const size_t head = count < kMinToAlign ? 0 : LinePhase(first, sizeof(Stored));
    Few few;
    for (size_t begin = 0; begin < count;) {
      const size_t end = begin < head ? head : count;
      Arrays<Stored> a = arrays.From(kSlots, begin, arrays.grad + begin);
      size_t full = (end - begin) / kUnit * kUnit;
      const size_t rest = full > 0 ? 0 : end - begin;
      if (rest > 0) {
        a = few.template CopyOf<kVar>(a, rest);
        full = kUnit;
      }
      for (size_t i = 0; i < full; i += kUnit) {
        FetchAhead(a.grad + i);
        if constexpr (kVar) FetchAhead(a.var + i);
        for (size_t k = 0; k < kSlots; ++k) FetchAhead(a.slots[k] + i);
        RuleUpdate::template StepAt<kVar>(Tag(), c, a, i, Codec::Load(Tag(), a.grad + i));
      }
      if (rest > 0) few.template Return<kVar>(arrays, begin, rest);
      begin += rest > 0 ? rest : full;
    }
  }

 private:
  using Vectors = hn::ScalableTag<typename Codec::Compute>;
  using Tag = std::conditional_t<Codec::kHasPairs, PairTag<Vectors>, Vectors>;
  static constexpr size_t kUnit = kLanes<Vectors> * (Codec::kHasPairs ? 2 : 1);
  static constexpr size_t kMinToAlign = 16 * kLineBytes / sizeof(Stored);

  // A copy of fewer elements than a loop takes at a time.
  class Few {
   public:
    template <bool kVar>
    Arrays<Stored> CopyOf(const Arrays<Stored>& from, size_t count) {
      std::memset(memory_, 0, sizeof(memory_));
      Arrays<Stored> copy;
      copy.grad = CopyIn(from.grad, 0, count);
      copy.var = kVar ? CopyIn(from.var, 1, count) : memory_;
      for (size_t k = 0; k < kSlots; ++k) copy.slots[k] = CopyIn(from.slots[k], 2 + k, count);
      return copy;
    }

    template <bool kVar>
    void Return(const Arrays<Stored>& to, size_t begin, size_t count) const {
      if constexpr (kVar) CopyOut(1, to.var + begin, count);
      for (size_t k = 0; k < kSlots; ++k) CopyOut(2 + k, to.slots[k] + begin, count);
    }

   private:
    Stored* CopyIn(const Stored* from, size_t number, size_t count) {
      CopyFewBytes(from, count * sizeof(Stored), memory_ + number * kUnit);
      return memory_ + number * kUnit;
    }
    void CopyOut(size_t number, Stored* to, size_t count) const {
      CopyFewBytes(memory_ + number * kUnit, count * sizeof(Stored), to);
    }

    alignas(64) Stored memory_[(2 + kSlots) * kUnit];
  };
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
