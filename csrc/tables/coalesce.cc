// SPDX-License-Identifier: Apache-2.0
#include <type_traits>

#include "core/group_tasks.h"
#include "tables/tables.h"
#include "core/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tables/coalesce.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "drivers/occurrences.h"
#include "simd/walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class Codec>
class Sums {
 public:
  explicit Sums(const CoalesceCall& call) : call_(call) {}

  void Run() const { RunGroups(*this); }

  static size_t tables() { return 1; }
  GroupCosts Costs(size_t) const { return {call_.groups, 1, call_.width * sizeof(Stored)}; }

  void operator()(size_t, size_t begin, size_t end) const {
    Occurrences occurrences(call_.dtype, call_.duplicates, call_, end, true);
    for (size_t g = begin; g < end; ++g) {
      Stored* const out = static_cast<Stored*>(call_.out) + call_.places[g] * call_.width;
      if constexpr (std::is_same_v<Stored, Compute>) {
        occurrences.SumTo(g, out);
      } else {
        occurrences.ForGroup(g, [&](const void* sum) HWY_ATTR {
          WalkAll<Compute>(RoundTo<Codec>{static_cast<const Compute*>(sum), out}, call_.width);
        });
      }
    }
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;

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
