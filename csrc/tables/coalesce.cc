// SPDX-License-Identifier: Apache-2.0
#include "core/group_tasks.h"
#include "tables/tables.h"
#include "core/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tables/coalesce.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/row-inl.h"
#include "simd/walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class Codec>
class Sums {
 public:
  explicit Sums(const CoalesceCall& call) : call_(call) {}

  void Run() const { GroupTasks<Sums>(*this, call_.groups, 1, call_.width * sizeof(Stored)); }

  void operator()(size_t begin, size_t end) const {
    for (size_t g = begin; g < end; ++g) {
      Stored* const out = static_cast<Stored*>(call_.out) + call_.places[g] * call_.width;
      WalkAll<typename Codec::Compute>(Body{Occurrences<Codec>(call_, g, end), out}, call_.width);
    }
  }

 private:
  using Stored = typename Codec::Stored;

  struct Body {
    Occurrences<Codec> occurrences;
    Stored* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      Codec::Store(d, occurrences.Sum(d, i), out + i);
    }
  };

  const CoalesceCall& call_;
};

struct Coalesced {
  static void Apply(const CoalesceCall& call) {
    WithCodec(call.dtype, [&](auto codec) HWY_ATTR { Sums<decltype(codec)>(call).Run(); });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

void Coalesce(const CoalesceCall& call) {
  static constexpr void (*kTable[])(const CoalesceCall&) = SLOTWISE_TABLE(Coalesced::Apply);
  if (call.groups.groups > 0 && call.width > 0) kTable[TargetIndex()](call);
}

}  // namespace slotwise
#endif
