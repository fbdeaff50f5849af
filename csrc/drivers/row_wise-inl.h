// SPDX-License-Identifier: Apache-2.0
// The driver of rules whose slot holds one element per row: a sum of squares along the row first,
// then the update.

#if defined(SLOTWISE_DRIVERS_ROW_WISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_ROW_WISE_INL_H_
#undef SLOTWISE_DRIVERS_ROW_WISE_INL_H_
#else
#define SLOTWISE_DRIVERS_ROW_WISE_INL_H_
#endif

#include "core/group_tasks.h"
#include "drivers/occurrences.h"
#include "drivers/update-inl.h"
#include "simd/ops-inl.h"
#include "simd/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class R, class Codec>
class RowWise {
 public:
  explicit RowWise(const SparseCall& call)
      : call_(call), coefficients_(CoefficientsOf<R, Compute>(call.hypers, call.attrs)) {}

  void Run() const { RunGroups(*this); }

  size_t tables() const { return call_.table_count; }
  GroupCosts Costs(size_t t) const {
    return {call_.tables[t].groups, 2, call_.tables[t].width * sizeof(Stored)};
  }

  void operator()(size_t t, size_t begin, size_t end) const {
    const Coefficients c = coefficients_;
    const SparseTable& table = call_.tables[t];
    const int64_t* const rows = table.groups.rows;
    const size_t width = table.width;
    auto* const var = static_cast<Stored*>(table.var);
    auto* const slots = static_cast<Stored*>(table.slots[0]);
    const hn::CappedTag<Compute, 1> one;
    Occurrences occurrences(call_.dtype, call_.duplicates, table, end);
    for (size_t g = begin; g < end; ++g) {
      if (g + kRowsAhead < end) {
        PrefetchRow(var + static_cast<size_t>(rows[g + kRowsAhead]) * width, width);
        PrefetchRow(slots + rows[g + kRowsAhead], 1);
      }
      Stored* const row = var + static_cast<size_t>(rows[g]) * width;
      Stored* const slot = slots + rows[g];
      occurrences.ForGroup(g, [&](const void* gradient) HWY_ATTR {
        const auto* const grad = static_cast<const Compute*>(gradient);
        Compute accum = hn::GetLane(Codec::Load(one, slot));
        const Compute mean = SumOf<Compute>(Square{grad}, width) / static_cast<Compute>(width);
        const Compute scale = R::RowStep(c, mean, accum);
        Codec::Store(one, hn::Set(one, accum), slot);
        WalkAll<Compute>(Stepped{scale, row, grad}, width);
      });
    }
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using Coefficients = typename R::template Coefficients<Compute>;

  struct Square {
    const Compute* grad;

    template <class D>
    HWY_INLINE hn::VFromD<D> operator()(D d, size_t i) const {
      const auto g = hn::LoadU(d, grad + i);
      return hn::Mul(g, g);
    }
  };

  struct Stepped {
    Compute scale;
    Stored* row;
    const Compute* grad;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      auto var = Codec::Load(d, row + i);
      R::Step(scale, hn::LoadU(d, grad + i), var);
      Codec::Store(d, var, row + i);
    }
  };

  const SparseCall& call_;
  Coefficients coefficients_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
