// SPDX-License-Identifier: Apache-2.0
// Rows of a table that ids name.

#if defined(SLOTWISE_TABLES_NAMED_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_TABLES_NAMED_ROWS_INL_H_
#undef SLOTWISE_TABLES_NAMED_ROWS_INL_H_
#else
#define SLOTWISE_TABLES_NAMED_ROWS_INL_H_
#endif

#include "core/row_groups.h"
#include "simd/codec-inl.h"
#include "simd/row.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Ids of one type. (RowIds asks for the type of each.)
template <class Id>
struct IdsOf {
  explicit IdsOf(const RowIds& ids) : data(static_cast<const Id*>(ids.data)) {}

  HWY_INLINE int64_t operator[](size_t i) const { return ReadOnce(data + i); }

  const Id* data;
};

// The rows that ids name, up to id `end`, which is as far as they are fetched. An id that is
// outside of the table counts as row 0. Rows of `kWidth` elements; 0: of any number.
template <class Codec, class Ids, bool kHasWeights, size_t kWidth = 0>
class NamedRows {
 public:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  static constexpr bool kWeighted = kHasWeights;
  static constexpr size_t kVectors = kWidth / kLanes<hn::ScalableTag<Compute>>;  // 0: of any width

  template <class Table>
  NamedRows(const Table& table, size_t end)
      : ids_(table.ids),
        end_(end),
        rows_(static_cast<const Stored*>(table.table)),
        row_count_(table.rows),
        width_(table.width),
        ahead_(RowsAhead(width() * sizeof(Stored))),
        across_(AreRowsAcrossLines(rows_, width() * sizeof(Stored))) {
    if constexpr (kHasWeights) weights_ = static_cast<const Compute*>(table.weights);
  }

  HWY_INLINE size_t width() const { return kWidth != 0 ? kWidth : width_; }
  HWY_INLINE const Stored* Row(size_t k) const {
    const auto row = static_cast<size_t>(ids_[k]);
    return rows_ + (row < row_count_ ? row : 0) * width();
  }
  HWY_INLINE Compute Weight(size_t k) const { return weights_[k]; }
  HWY_INLINE void Fetch(size_t k) const {
    if (k + ahead_ >= end_) return;
    // (An address, as it may be outside of the table, where no pointer may point.)
    const auto row = static_cast<size_t>(ids_[k + ahead_]) * width() * sizeof(Stored);
    const auto at = reinterpret_cast<uintptr_t>(rows_) + row;
    PrefetchRow(reinterpret_cast<const Stored*>(at), width(), across_);
  }

 private:
  Ids ids_;
  size_t end_;
  const Stored* rows_;
  size_t row_count_, width_, ahead_;
  bool across_;
  const Compute* weights_ = nullptr;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
