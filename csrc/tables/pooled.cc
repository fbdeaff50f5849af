// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "tables/tables.h"
#include "core/targets.h"
#include "core/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tables/pooled.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/ops-inl.h"
#include "simd/row-inl.h"
#include "simd/walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class Codec>
class Pool {
 public:
  explicit Pool(const PooledCall& call) : call_(call) {}

  void Run() const {
    const size_t ids = static_cast<size_t>(call_.offsets[call_.bags] - call_.offsets[0]);
    const size_t bag_bytes = (ids / call_.bags + 1) * call_.width * sizeof(Stored);
    ParallelFor({call_.bags, std::max(size_t{1}, kMinBytesPerThread / bag_bytes), 0, 1}, &Range,
                this);
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;

  static void Range(const void* context, size_t begin, size_t end) {
    const Pool& self = *static_cast<const Pool*>(context);
    for (size_t bag = begin; bag < end; ++bag) self.One(bag);
  }

  // The body of a walk along one row of the output.
  struct Body {
    const Pool& pool;
    size_t first, last;
    Compute divisor;
    Stored* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      auto sum = hn::Zero(d);
      for (size_t k = first; k < last; ++k) {
        const auto row = Codec::Load(d, pool.Row(k) + i);
        sum = sum + (pool.call_.weights == nullptr ? row : row * pool.Weight(k));
      }
      Codec::Store(d, divisor == 1 ? sum : sum / divisor, out + i);
    }
  };

  HWY_INLINE void One(size_t bag) const {
    const size_t first = static_cast<size_t>(call_.offsets[bag]);
    const size_t last = static_cast<size_t>(call_.offsets[bag + 1]);
    for (size_t k = first; k < std::min(last + kRowsAhead, call_.ids.count); ++k) {
      PrefetchRow(Row(k), call_.width);
    }
    WalkAll<Compute>(Body{*this, first, last, Divisor(first, last),
                          static_cast<Stored*>(call_.out) + bag * call_.width},
                     call_.width);
  }

  // What the sum is divided by; 1 for an empty bag, whose pool is 0.
  Compute Divisor(size_t first, size_t last) const {
    if (call_.mode == Pooling::kSum || first == last) return 1;
    Compute total = 0;
    for (size_t k = first; k < last; ++k) {
      const Compute weight = call_.weights == nullptr ? 1 : Weight(k);
      total += call_.mode == Pooling::kMean ? weight : weight * weight;
    }
    return call_.mode == Pooling::kMean ? total : std::sqrt(total);
  }

  HWY_INLINE const Stored* Row(size_t k) const {
    const auto row = static_cast<size_t>(call_.ids[k]);
    return static_cast<const Stored*>(call_.table) + (row < call_.rows ? row : 0) * call_.width;
  }
  HWY_INLINE Compute Weight(size_t k) const {
    return static_cast<const Compute*>(call_.weights)[k];
  }

  const PooledCall& call_;
};

struct Pooled {
  static void Apply(const PooledCall& call) {
    WithCodec(call.dtype, [&](auto codec) HWY_ATTR { Pool<decltype(codec)>(call).Run(); });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

void GatherPooled(const PooledCall& call) {
  static constexpr void (*kTable[])(const PooledCall&) = SLOTWISE_TABLE(Pooled::Apply);
  if (call.bags > 0 && call.width > 0) kTable[TargetIndex()](call);
}

}  // namespace slotwise
#endif
