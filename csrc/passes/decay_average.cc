// SPDX-License-Identifier: Apache-2.0
#include "passes/decay_average.h"
#include "core/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "passes/decay_average.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/ops-inl.h"
#include "simd/walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Bodies of walks.
template <class Codec>
struct Decayed {
  using Stored = typename Codec::Stored;
  using T = typename Codec::Compute;

  Decayed(const DecayAndAverage& how, size_t begin, void* all)
      : decay(static_cast<T>(how.decay)),
        rate(static_cast<T>(how.rate)),
        var(static_cast<Stored*>(all) + begin) {}

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    FetchAhead(var + i);
    const auto w = Codec::Load(d, var + i);
    Codec::Store(d, w - (w * decay) * rate, var + i);
  }

  T decay, rate;
  Stored* var;
};

template <class Codec>
struct Averaged {
  using Stored = typename Codec::Stored;
  using T = typename Codec::Compute;

  Averaged(const DecayAndAverage& how, size_t begin, void* all)
      : kept(static_cast<T>(how.kept)),
        added(static_cast<T>(how.added)),
        overwrites(how.overwrites),
        var(static_cast<Stored*>(all) + begin),
        average(static_cast<Stored*>(how.average) + begin) {}

  template <class D>
  HWY_INLINE void operator()(D d, size_t i) const {
    FetchAhead(average + i);
    const auto mean = kept * Codec::Load(d, average + i) + added * Codec::Load(d, var + i);
    Codec::Store(d, mean, average + i);
    if (overwrites) Codec::Store(d, mean, var + i);
  }

  T kept, added;
  bool overwrites;
  Stored* var;
  Stored* average;
};

template <template <class> class Stage>
struct Staged {
  template <class Codec>
  static void Run(const DecayAndAverage& how, size_t begin, size_t count, void* var) {
    WalkAll<typename Codec::Compute>(Stage<Codec>(how, begin, var), count);
  }

  static void Apply(DType dtype, const DecayAndAverage& how, size_t begin, size_t count,
                    void* var) {
    WithCodec(dtype, [&](auto codec) HWY_ATTR { Run<decltype(codec)>(how, begin, count, var); });
  }
};

struct Decay : Staged<Decayed> {};
struct Average : Staged<Averaged> {};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

using StageFunction = void (*)(DType, const DecayAndAverage&, size_t, size_t, void*);

void DecayWeights(DType dtype, const DecayAndAverage& how, size_t begin, size_t count, void* var) {
  static constexpr StageFunction kTable[] = SLOTWISE_TABLE(Decay::Apply);
  kTable[TargetIndex()](dtype, how, begin, count, var);
}

void AverageWeights(DType dtype, const DecayAndAverage& how, size_t begin, size_t count,
                    void* var) {
  static constexpr StageFunction kTable[] = SLOTWISE_TABLE(Average::Apply);
  kTable[TargetIndex()](dtype, how, begin, count, var);
}

}  // namespace slotwise
#endif
