// SPDX-License-Identifier: Apache-2.0
// The sparse driver: walks rows of the tables of one update, each row by one thread, with its
// occurrences in order.

#if defined(SLOTWISE_DRIVERS_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_ROWS_INL_H_
#undef SLOTWISE_DRIVERS_ROWS_INL_H_
#else
#define SLOTWISE_DRIVERS_ROWS_INL_H_
#endif

#include "passes/decay_average.h"
#include "core/group_tasks.h"
#include "drivers/occurrences-inl.h"
#include "drivers/update-inl.h"
#include "simd/row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

template <class R, class Codec>
class Rows {
 public:
  explicit Rows(const SparseCall& call)
      : call_(call), coefficients_(CoefficientsOf<R, typename Codec::Compute>(call)) {}

  void Run() const { RunGroups(*this); }

  size_t tables() const { return call_.table_count; }
  GroupCosts Costs(size_t t) const {
    const SparseTable& table = call_.tables[t];
    return {table.groups, 2 * (1 + kSlots), table.width * sizeof(Stored)};
  }

  // All rows of groups [begin, end) of a table.
  void operator()(size_t t, size_t begin, size_t end) const {
    const typename RuleUpdate::Coefficients c = coefficients_;  // a copy that stores cannot alias
    const SparseTable& table = call_.tables[t];
    Arrays<Stored> arrays;
    arrays.var = static_cast<Stored*>(table.var);
    for (size_t i = 0; i < kMaxSlots; ++i) arrays.slots[i] = static_cast<Stored*>(table.slots[i]);
    Occurrences<Codec> occurrences(call_.dtype, call_.duplicates, table, end);
    for (size_t g = begin; g < end; ++g) {
      if (g + kRowsAhead < end) PrefetchRows(table, arrays, g + kRowsAhead);
      const size_t start = RowStart(table, g);
      const Arrays<Stored> row = arrays.template From<kSlots>(start, nullptr);
      BeforeUpdate(call_.dtype, table.decay_average, start, table.width, table.var);
      occurrences.ForGroup(g, [&](const Compute* gradient) HWY_ATTR {
        WalkAll<Compute>(Body{c, row, gradient}, table.width);
      });
      AfterUpdate(call_.dtype, table.decay_average, start, table.width, table.var);
    }
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using RuleUpdate = Update<R, Codec>;
  static constexpr size_t kSlots = RuleUpdate::kSlots;

  // The body of a walk along one row.
  struct Body {
    const typename RuleUpdate::Coefficients& c;
    const Arrays<Stored>& row;
    const Compute* gradient;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      RuleUpdate::StepAt(d, c, row, i, hn::LoadU(d, gradient + i));
    }
  };

  static size_t RowStart(const SparseTable& table, size_t g) {
    return static_cast<size_t>(table.groups.rows[g]) * table.width;
  }

  static HWY_INLINE void PrefetchRows(const SparseTable& table, const Arrays<Stored>& arrays,
                                      size_t g) {
    const size_t start = RowStart(table, g);
    PrefetchRow(arrays.var + start, table.width);
    for (size_t i = 0; i < kSlots; ++i) PrefetchRow(arrays.slots[i] + start, table.width);
    if (table.decay_average != nullptr && table.decay_average->average != nullptr) {
      PrefetchRow(static_cast<const Stored*>(table.decay_average->average) + start, table.width);
    }
  }

  const SparseCall& call_;
  typename RuleUpdate::Coefficients coefficients_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
