// SPDX-License-Identifier: Apache-2.0
#include "passes/gradients.h"
#include "core/strided.h"
#include "core/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "passes/transform.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/ops-inl.h"
#include "simd/walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class Codec>
struct Transformed {
  using Stored = typename Codec::Stored;
  using T = typename Codec::Compute;

  const GradTransform& transform;
  const Stored* in;
  const Stored* var;  // null: no decay
  Stored* out;

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    FetchAhead(in + i);
    auto g = Codec::Load(d, in + i);
    using V = decltype(g);
    if (transform.clamps) {
      const T limit = static_cast<T>(transform.limit);
      g = FirstMax(FirstMin(g, Fill<V>(limit)), Fill<V>(-limit));
    }
    if (transform.normalizes) {
      g = g * static_cast<T>(transform.numerator) / static_cast<T>(transform.denominator);
    }
    if (transform.scales) g = g * static_cast<T>(transform.scale);
    if (var != nullptr) g = g + Codec::Load(d, var + i) * static_cast<T>(transform.decay);
    Codec::Store(d, g, out + i);
  }
};

struct TransformSpan {
  template <class Codec>
  static void Run(const GradTransform& transform, size_t begin, size_t count, const void* in,
                  void* out) {
    using Stored = typename Codec::Stored;
    const Stored* const var = static_cast<const Stored*>(transform.decay_of);
    WalkAll<typename Codec::Compute>(
        Transformed<Codec>{transform, static_cast<const Stored*>(in),
                           var == nullptr ? nullptr : var + begin, static_cast<Stored*>(out)},
        count);
  }

  static void Apply(DType dtype, const GradTransform& transform, size_t begin, size_t count,
                    const void* in, void* out) {
    WithCodec(dtype,
              [&](auto codec) HWY_ATTR { Run<decltype(codec)>(transform, begin, count, in, out); });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

void ReadGradient(DType dtype, const StridedArray& grad, const GradTransform* transform,
                  size_t begin, size_t count, void* out) {
  const void* in = static_cast<const unsigned char*>(grad.data) + begin * SizeOf(dtype);
  if (!grad.contiguous || transform == nullptr) {
    CopyStrided(grad, SizeOf(dtype), begin, count, out);
    in = out;
  }
  if (transform == nullptr) return;
  static constexpr void (*kTable[])(DType, const GradTransform&, size_t, size_t, const void*,
                                    void*) = SLOTWISE_TABLE(TransformSpan::Apply);
  kTable[TargetIndex()](dtype, *transform, begin, count, in, out);
}

const void* GradientSpan(DType dtype, const StridedArray& grad, const GradTransform* transform,
                         size_t begin, size_t count, void* block) {
  if (grad.contiguous && transform == nullptr) {
    return static_cast<const unsigned char*>(grad.data) + begin * SizeOf(dtype);
  }
  ReadGradient(dtype, grad, transform, begin, count, block);
  return block;
}

}  // namespace slotwise
#endif
