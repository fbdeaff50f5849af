// SPDX-License-Identifier: Apache-2.0
// The driver of rules whose slot holds one element per row: a sum of squares along the row first,
// then the update.

#if defined(SLOTWISE_DRIVERS_ROW_WISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_ROW_WISE_INL_H_
#undef SLOTWISE_DRIVERS_ROW_WISE_INL_H_
#else
#define SLOTWISE_DRIVERS_ROW_WISE_INL_H_
#endif

#include "core/scratch.h"
#include "core/group_tasks.h"
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
      : call_(call),
        coefficients_(CoefficientsOf<R, Compute>(call)),
        var_(static_cast<Stored*>(call.var)),
        slot_(static_cast<Stored*>(call.slots[0])) {}

  void Run() const { GroupTasks<RowWise>(*this, call_.groups, 2, call_.width * sizeof(Stored)); }

  void operator()(size_t begin, size_t end) const {
    const Coefficients c = coefficients_;
    const RowGroupsView& groups = call_.groups;
    const hn::CappedTag<Compute, 1> one;
    Scratch memory(Scratch::Size<Compute>(call_.width));
    Compute* const grad = memory.Take<Compute>(call_.width);
    for (size_t g = begin; g < end; ++g) {
      if (g + kRowsAhead < end) {
        PrefetchRow(var_ + RowStart(groups.rows[g + kRowsAhead]), call_.width);
        PrefetchRow(slot_ + groups.rows[g + kRowsAhead], 1);
      }
      Occurrences<Codec> occurrences(call_, g, end);
      Stored* const row = var_ + RowStart(groups.rows[g]);
      Stored* const slot = slot_ + groups.rows[g];
      size_t steps = call_.sum ? 1 : occurrences.Single();
      for (; steps > 0; --steps, occurrences.Next()) {
        WalkAll<Compute>(Summed{occurrences, grad}, call_.width);
        Compute accum = hn::GetLane(Codec::Load(one, slot));
        const Compute mean =
            SumOf<Compute>(Square{grad}, call_.width) / static_cast<Compute>(call_.width);
        const Compute scale = R::RowStep(c, mean, accum);
        Codec::Store(one, hn::Set(one, accum), slot);
        WalkAll<Compute>(Stepped{scale, row, grad}, call_.width);
      }
    }
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using Coefficients = typename R::template Coefficients<Compute>;

  // The bodies of two walks along one row: its gradient is read once, and kept in between.
  struct Summed {
    const Occurrences<Codec>& occurrences;
    Compute* grad;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      hn::StoreU(occurrences.Sum(d, i), d, grad + i);
    }
  };

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

  size_t RowStart(int64_t row) const { return static_cast<size_t>(row) * call_.width; }

  const SparseCall& call_;
  Coefficients coefficients_;
  Stored* var_;
  Stored* slot_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
