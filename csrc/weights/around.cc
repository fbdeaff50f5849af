#include "core/around.h"
#include "core/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "weights/around.cc"
#include "hwy/foreach_target.h"
#include "simd/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Bodies of walks.
template <class Codec>
struct Decayed {
  using Stored = typename Codec::Stored;
  using T = typename Codec::Compute;

  Decayed(const Around& around, size_t begin, void* all)
      : decay(static_cast<T>(around.decay)),
        rate(static_cast<T>(around.rate)),
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

  Averaged(const Around& around, size_t begin, void* all)
      : kept(static_cast<T>(around.kept)),
        added(static_cast<T>(around.added)),
        overwrites(around.overwrites),
        var(static_cast<Stored*>(all) + begin),
        average(static_cast<Stored*>(around.average) + begin) {}

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
  static void Run(const Around& around, size_t begin, size_t count, void* var) {
    WalkAll<typename Codec::Compute>(Stage<Codec>(around, begin, var), count);
  }

  static void Apply(DType dtype, const Around& around, size_t begin, size_t count, void* var) {
    WithCodec(dtype, [&](auto codec) HWY_ATTR { Run<decltype(codec)>(around, begin, count, var); });
  }
};

struct Decay : Staged<Decayed> {};
struct Average : Staged<Averaged> {};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

using StageFunction = void (*)(DType, const Around&, size_t, size_t, void*);

void DecayWeights(DType dtype, const Around& around, size_t begin, size_t count, void* var) {
  static constexpr StageFunction kTable[] = SLOTWISE_TABLE(Decay::Apply);
  kTable[TargetIndex()](dtype, around, begin, count, var);
}

void AverageWeights(DType dtype, const Around& around, size_t begin, size_t count, void* var) {
  static constexpr StageFunction kTable[] = SLOTWISE_TABLE(Average::Apply);
  kTable[TargetIndex()](dtype, around, begin, count, var);
}

}  // namespace slotwise
#endif
