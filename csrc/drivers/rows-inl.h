// SPDX-License-Identifier: Apache-2.0
// The sparse driver: walks rows of one update, each row by one thread, with its occurrences in
// order.

#if defined(SLOTWISE_DRIVERS_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_ROWS_INL_H_
#undef SLOTWISE_DRIVERS_ROWS_INL_H_
#else
#define SLOTWISE_DRIVERS_ROWS_INL_H_
#endif

#include "passes/decay_average.h"
#include "core/group_tasks.h"
#include "drivers/update-inl.h"
#include "simd/row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class R, class Codec>
class Rows {
 public:
  explicit Rows(const SparseCall& call)
      : call_(call), coefficients_(CoefficientsOf<R, typename Codec::Compute>(call)) {
    arrays_.var = static_cast<Stored*>(call.var);
    for (size_t i = 0; i < kMaxSlots; ++i) arrays_.slots[i] = static_cast<Stored*>(call.slots[i]);
    arrays_.grad = static_cast<const Stored*>(call.grad);
  }

  void Run() const {
    GroupTasks<Rows>(*this, call_.groups, 2 * (1 + kSlots), call_.width * sizeof(Stored));
  }

  // All rows of groups [begin, end).
  void operator()(size_t begin, size_t end) const {
    const typename RuleUpdate::Coefficients c = coefficients_;  // a copy that stores cannot alias
    const RowGroupsView& groups = call_.groups;
    for (size_t g = begin; g < end; ++g) {
      PrefetchRows(g + kRowsAhead, end);
      const size_t start = RowStart(groups.rows[g]);
      const Arrays<Stored> row = arrays_.template From<kSlots>(start, nullptr);
      BeforeUpdate(call_.dtype, call_.decay_average, start, call_.width, call_.var);
      Occurrences<Codec> occurrences(call_, g, end);
      // One place where the rule is compiled, whether they are summed or applied one by one.
      size_t steps = call_.sum ? 1 : occurrences.Single();
      for (; steps > 0; --steps, occurrences.Next()) {
        WalkAll<Compute>(Body{c, row, occurrences}, call_.width);
      }
      AfterUpdate(call_.dtype, call_.decay_average, start, call_.width, call_.var);
    }
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using RuleUpdate = Update<R, Codec>;
  static constexpr size_t kSlots = RuleUpdate::kSlots;

  // The body of a walk along one row. The sum of its gradients is never stored.
  struct Body {
    const typename RuleUpdate::Coefficients& c;
    const Arrays<Stored>& row;
    const Occurrences<Codec>& occurrences;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      RuleUpdate::StepAt(d, c, row, i, occurrences.Sum(d, i));
    }
  };

  size_t RowStart(int64_t row) const { return static_cast<size_t>(row) * call_.width; }

  HWY_INLINE void PrefetchRows(size_t g, size_t end) const {
    if (g >= end) return;
    const size_t start = RowStart(call_.groups.rows[g]);
    PrefetchRow(arrays_.var + start, call_.width);
    for (size_t i = 0; i < kSlots; ++i) PrefetchRow(arrays_.slots[i] + start, call_.width);
    if (call_.decay_average != nullptr && call_.decay_average->average != nullptr) {
      PrefetchRow(static_cast<const Stored*>(call_.decay_average->average) + start, call_.width);
    }
  }

  const SparseCall& call_;
  typename RuleUpdate::Coefficients coefficients_;
  Arrays<Stored> arrays_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
