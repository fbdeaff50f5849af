// The dense driver: walks the memory of one update, whatever its rule and dtype.

#if defined(SLOTWISE_SIMD_DENSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_DENSE_INL_H_
#undef SLOTWISE_SIMD_DENSE_INL_H_
#else
#define SLOTWISE_SIMD_DENSE_INL_H_
#endif

#include <algorithm>

#include "core/strided.h"
#include "core/threads.h"
#include "simd/step-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class R, class Codec>
class Dense {
 public:
  explicit Dense(const DenseCall& call)
      : coefficients_(Arguments<R, typename Codec::Compute>(call.hypers, call.attrs)),
        grad_(call.grad) {
    arrays_.var = static_cast<Stored*>(call.var);
    for (size_t i = 0; i < kMaxSlots; ++i) arrays_.slots[i] = static_cast<Stored*>(call.slots[i]);
    arrays_.grad = static_cast<const Stored*>(call.grad.data);
  }

  void Run(size_t count) const {
    constexpr size_t kBytesPerElement = sizeof(Stored) * (2 + kSlots);
    const Partition partition{count, kMinBytesPerThread / kBytesPerElement, LinePhase(arrays_.var),
                              kLine};
    ParallelFor(partition, grad_.contiguous ? &Contiguous : &Strided, this);
  }

 private:
  using Stored = typename Codec::Stored;
  using U = Update<R, Codec>;
  static constexpr size_t kSlots = U::kSlots;

  // Less work than this per thread is done sooner by one (measured, see bench/).
  static constexpr size_t kMinBytesPerThread = 64 << 10;
  static constexpr size_t kGradBlock = 512;  // elements of a strided gradient copied at a time
  static constexpr size_t kLine = 64 / sizeof(Stored);
  static constexpr size_t kMinToAlign = 16 * kLine;

  // Elements before the first cache line boundary.
  static size_t LinePhase(const Stored* array) {
    return (kLine - reinterpret_cast<uintptr_t>(array) / sizeof(Stored) % kLine) % kLine;
  }

  // Bytes ahead of a vector that are fetched: keeps memory busy over page ends, where the
  // hardware's own prefetching stops, and while a division holds up the loop.
  static constexpr size_t kBytesAhead = 2048;

  // The address may lie past the array, where no pointer may point.
  static HWY_INLINE void FetchAhead(const Stored* from) {
    hwy::Prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(from) + kBytesAhead));
  }

  // The body of the walk: everything lies in memory as var does.
  struct Body {
    const typename U::Coefficients& c;
    Arrays<Stored> a;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      FetchAhead(a.grad + i);
      FetchAhead(a.var + i);
      for (size_t k = 0; k < kSlots; ++k) FetchAhead(a.slots[k] + i);
      U::StepAt(d, c, a, i, Codec::Load(d, a.grad + i));
    }
  };

  static HWY_INLINE void Cover(const Body& body, size_t count) {
    using Compute = typename Codec::Compute;
    size_t i = 0;
    if constexpr (Codec::kHasPairs) {
      i = Walk(body, PairTag<hn::ScalableTag<Compute>>(), i, count);
    }
    WalkAll<Compute>(body, count, i);
  }

  // Full vectors start on var's cache lines; so do those of the other arrays, as a rule, since
  // allocators give large arrays the same offset.
  static void Apply(const typename U::Coefficients& coefficients, const Arrays<Stored>& arrays,
                    size_t count) {
    const typename U::Coefficients c = coefficients;  // a copy that stores to arrays cannot alias
    const size_t head = count < kMinToAlign ? 0 : LinePhase(arrays.var);
    Body body{c, arrays};
    if (head > 0) {
      Cover(body, head);
      body.a = arrays.template From<kSlots>(head, arrays.grad + head);
    }
    Cover(body, count - head);
  }

  static void Contiguous(const void* context, size_t begin, size_t end) {
    const Dense& self = *static_cast<const Dense*>(context);
    const Stored* const grad = self.arrays_.grad + begin;
    Apply(self.coefficients_, self.arrays_.template From<kSlots>(begin, grad), end - begin);
  }

  static void Strided(const void* context, size_t begin, size_t end) {
    const Dense& self = *static_cast<const Dense*>(context);
    Stored block[kGradBlock];
    while (begin < end) {
      const size_t count = std::min(kGradBlock, end - begin);
      CopyStrided(self.grad_, sizeof(Stored), begin, count, block);
      Apply(self.coefficients_, self.arrays_.template From<kSlots>(begin, block), count);
      begin += count;
    }
  }

  typename U::Coefficients coefficients_;
  Arrays<Stored> arrays_;
  const StridedArray& grad_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
