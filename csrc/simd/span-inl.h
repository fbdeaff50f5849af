// The update of a run of contiguous elements: what the dense driver and the sweep share.

#if defined(SLOTWISE_SIMD_SPAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_SPAN_INL_H_
#undef SLOTWISE_SIMD_SPAN_INL_H_
#else
#define SLOTWISE_SIMD_SPAN_INL_H_
#endif

#include "simd/step-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Less work than this per thread is done sooner by one (measured, see bench/).
constexpr size_t kMinBytesPerThread = 64 << 10;

// Elements that several loops pass over in turn: their arrays stay in the first-level cache.
constexpr size_t kBlock = 512;

template <class R, class Codec>
class Span {
 public:
  using Stored = typename Codec::Stored;
  using U = Update<R, Codec>;
  static constexpr size_t kSlots = U::kSlots;
  static constexpr size_t kLine = 64 / sizeof(Stored);

  // Elements before the first cache line boundary.
  static size_t LinePhase(const Stored* array) {
    return (kLine - reinterpret_cast<uintptr_t>(array) / sizeof(Stored) % kLine) % kLine;
  }

  // Full vectors start on cache lines of var (of the first slot without kVar); so do those of the
  // other arrays, as a rule, since allocators give large arrays the same offset.
  template <bool kVar = true>
  static void Apply(const typename U::Coefficients& coefficients, const Arrays<Stored>& arrays,
                    size_t count) {
    const typename U::Coefficients c = coefficients;  // a copy that stores to arrays cannot alias
    const size_t head = count < kMinToAlign ? 0 : LinePhase(kVar ? arrays.var : arrays.slots[0]);
    Body<kVar> body{c, arrays};
    if (head > 0) {
      Cover(body, head);
      body.a = arrays.template From<kSlots>(head, arrays.grad + head);
    }
    Cover(body, count - head);
  }

 private:
  static constexpr size_t kMinToAlign = 16 * kLine;

  // The body of the walk: everything lies in memory as var does.
  template <bool kVar>
  struct Body {
    const typename U::Coefficients& c;
    Arrays<Stored> a;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      FetchAhead(a.grad + i);
      if constexpr (kVar) FetchAhead(a.var + i);
      for (size_t k = 0; k < kSlots; ++k) FetchAhead(a.slots[k] + i);
      U::template StepAt<kVar>(d, c, a, i, Codec::Load(d, a.grad + i));
    }
  };

  template <bool kVar>
  static HWY_INLINE void Cover(const Body<kVar>& body, size_t count) {
    using Compute = typename Codec::Compute;
    size_t i = 0;
    if constexpr (Codec::kHasPairs) {
      i = Walk(body, PairTag<hn::ScalableTag<Compute>>(), i, count);
    }
    WalkAll<Compute>(body, count, i);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
