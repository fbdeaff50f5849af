// SPDX-License-Identifier: Apache-2.0
#include "core/bags.h"
#include "core/group_tasks.h"
#include "core/targets.h"
#include "tables/tables.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tables/weight_gradient.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/sums-inl.h"
#include "tables/named_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// The gradients of weights: dot products.
template <class Codec>
struct WeightGradients {
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;

  const WeightGradientCall& call;

  static size_t tables() { return 1; }
  BagCosts Costs(size_t) const { return {call.offsets, call.bags, call.width * sizeof(Stored)}; }

  struct Product {
    const Stored *row, *grad;

    template <class D>
    HWY_INLINE hn::VFromD<D> operator()(D d, size_t i) const {
      return hn::Mul(Codec::Load(d, row + i), Codec::Load(d, grad + i));
    }
  };

  void operator()(size_t, size_t begin, size_t end) const {
    const NamedRows<Codec, RowIds, false> rows(call, static_cast<size_t>(call.offsets[end]));
    const auto* const grads = static_cast<const Stored*>(call.bag_grads);
    auto* const out = static_cast<Compute*>(call.out);
    for (size_t bag = begin; bag < end; ++bag) {
      const Stored* const grad = grads + static_cast<int64_t>(bag) * call.bag_stride;
      const auto last = static_cast<size_t>(call.offsets[bag + 1]);
      for (auto k = static_cast<size_t>(call.offsets[bag]); k < last; ++k) {
        rows.Fetch(k);
        out[k] = call.ids[k] < 0 ? 0 : SumOf<Compute>(Product{rows.Row(k), grad}, call.width);
      }
    }
  }
};

struct WeightGradient {
  static void Apply(const WeightGradientCall& call) {
    WithCodec(call.dtype,
              [&](auto codec) HWY_ATTR { RunGroups(WeightGradients<decltype(codec)>{call}); });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slotwise {

void PooledWeightGradient(const WeightGradientCall& call) {
  static constexpr void (*kTable[])(const WeightGradientCall&) =
      SLOTWISE_TABLE(WeightGradient::Apply);
  kTable[TargetIndex()](call);
}

}  // namespace slotwise
#endif
