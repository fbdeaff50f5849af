// The dense driver: walks the memory of one update, whatever its rule and dtype.
//
// A rule derives from Rule<itself> and has
//   static constexpr RuleSpec kSpec;                      its names
//   template <class T> struct Coefficients;               made of the hyperparameters, once a call
//   static void Step(coefficients, g, var, slots...);     the formula, on vectors

#if defined(SLOTWISE_SIMD_DENSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_SIMD_DENSE_INL_H_
#undef SLOTWISE_SIMD_DENSE_INL_H_
#else
#define SLOTWISE_SIMD_DENSE_INL_H_
#endif

#include <algorithm>
#include <array>

#include "core/registry.h"
#include "core/strided.h"
#include "core/threads.h"
#include "core/types.h"
#include "simd/codec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Hyperparameters rounded to the compute type, and attributes, in the order of the rule's spec.
template <class R, class T>
struct Arguments {
  Arguments(const double* from, const bool* attr_values) {
    for (size_t i = 0; i < hypers.size(); ++i) hypers[i] = static_cast<T>(from[i]);
    std::copy_n(attr_values, attrs.size(), attrs.begin());
  }

  std::array<T, CountHypers(R::kSpec)> hypers;
  std::array<bool, CountAttrs(R::kSpec)> attrs;
};

// Where the elements of one update lie.
template <class T>
struct Arrays {
  T* var;
  std::array<T*, kMaxSlots> slots;
  const T* grad;
};

template <class R, class Codec>
struct Span {
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using Coefficients = typename R::template Coefficients<Compute>;
  static constexpr size_t kSlots = CountSlots(R::kSpec);

  // One vector of elements, from i on.
  template <class D>
  static HWY_INLINE void StepAt(D d, const Coefficients& c, const Arrays<Stored>& a, size_t i) {
    const auto g = Codec::Load(d, a.grad + i);
    auto var = Codec::Load(d, a.var + i);
    if constexpr (kSlots == 0) {
      R::Step(c, g, var);
    } else {
      auto slot0 = Codec::Load(d, a.slots[0] + i);
      if constexpr (kSlots == 1) {
        R::Step(c, g, var, slot0);
      } else {
        auto slot1 = Codec::Load(d, a.slots[1] + i);
        if constexpr (kSlots == 2) {
          R::Step(c, g, var, slot0, slot1);
        } else {
          auto slot2 = Codec::Load(d, a.slots[2] + i);
          R::Step(c, g, var, slot0, slot1, slot2);
          Codec::Store(d, slot2, a.slots[2] + i);
        }
        Codec::Store(d, slot1, a.slots[1] + i);
      }
      Codec::Store(d, slot0, a.slots[0] + i);
    }
    Codec::Store(d, var, a.var + i);
  }

  // Whole vectors of D from i on; returns where they end.
  template <class D>
  static HWY_INLINE size_t StepWhile(D d, const Coefficients& c, const Arrays<Stored>& a, size_t i,
                                     size_t count) {
    for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) StepAt(d, c, a, i);
    return i;
  }

  // All elements: full vectors, then ever smaller ones. (Masked tails may touch memory past the
  // end on most targets.)
  static void Apply(const Coefficients& coefficients, const Arrays<Stored>& arrays, size_t count) {
    const Coefficients c = coefficients;  // a copy that stores to arrays cannot alias
    const Arrays<Stored> a = arrays;
    constexpr size_t kFull = kLanes<hn::ScalableTag<Compute>>;
    size_t i = StepWhile(hn::ScalableTag<Compute>(), c, a, 0, count);
    if constexpr (kFull > 8) i = StepWhile(hn::CappedTag<Compute, 8>(), c, a, i, count);
    if constexpr (kFull > 4) i = StepWhile(hn::CappedTag<Compute, 4>(), c, a, i, count);
    if constexpr (kFull > 1) StepWhile(hn::CappedTag<Compute, 1>(), c, a, i, count);
  }
};

template <class R, class Codec>
struct Dense {
  using Stored = typename Codec::Stored;
  using Update = Span<R, Codec>;

  // Less work than this per thread is done sooner by one (measured, see bench/).
  static constexpr size_t kMinBytesPerThread = 64 << 10;
  static constexpr size_t kGradBlock = 512;  // elements of a strided gradient copied at a time

  typename Update::Coefficients coefficients;
  Arrays<Stored> arrays;
  const StridedArray& grad;

  explicit Dense(const DenseCall& call)
      : coefficients(Arguments<R, typename Codec::Compute>(call.hypers, call.attrs)),
        grad(call.grad) {
    arrays.var = static_cast<Stored*>(call.var);
    for (size_t i = 0; i < kMaxSlots; ++i) arrays.slots[i] = static_cast<Stored*>(call.slots[i]);
    arrays.grad = static_cast<const Stored*>(call.grad.data);
  }

  Arrays<Stored> ArraysFrom(size_t begin) const {
    Arrays<Stored> from = arrays;
    from.var += begin;
    for (size_t i = 0; i < Update::kSlots; ++i) from.slots[i] += begin;
    from.grad += begin;
    return from;
  }

  static void Contiguous(const void* context, size_t begin, size_t end) {
    const Dense& self = *static_cast<const Dense*>(context);
    Update::Apply(self.coefficients, self.ArraysFrom(begin), end - begin);
  }

  static void Strided(const void* context, size_t begin, size_t end) {
    const Dense& self = *static_cast<const Dense*>(context);
    Stored block[kGradBlock];
    while (begin < end) {
      const size_t count = std::min(kGradBlock, end - begin);
      CopyStrided(self.grad, sizeof(Stored), begin, count, block);
      Arrays<Stored> from = self.ArraysFrom(begin);
      from.grad = block;
      Update::Apply(self.coefficients, from, count);
      begin += count;
    }
  }

  void Run(size_t count) const {
    constexpr size_t kBytesPerElement = sizeof(Stored) * (2 + Update::kSlots);
    constexpr size_t kLine = 64 / sizeof(Stored);
    const size_t offset = reinterpret_cast<uintptr_t>(arrays.var) / sizeof(Stored) % kLine;
    const Partition partition{count, kMinBytesPerThread / kBytesPerElement,
                              (kLine - offset) % kLine, kLine};
    ParallelFor(partition, grad.contiguous ? &Contiguous : &Strided, this);
  }
};

template <class R>
struct Rule {
  static void ApplyDense(const DenseCall& call) {
    switch (call.dtype) {
      case DType::kF16:
        return Dense<R, F16Codec>(call).Run(call.count);
      case DType::kBF16:
        return Dense<R, BF16Codec>(call).Run(call.count);
      case DType::kF32:
        return Dense<R, F32Codec>(call).Run(call.count);
      case DType::kF64:
        return Dense<R, F64Codec>(call).Run(call.count);
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
