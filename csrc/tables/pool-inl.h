// SPDX-License-Identifier: Apache-2.0
// The bags of a table, pooled.

#if defined(SLOTWISE_TABLES_POOL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_TABLES_POOL_INL_H_
#undef SLOTWISE_TABLES_POOL_INL_H_
#else
#define SLOTWISE_TABLES_POOL_INL_H_
#endif

#include <algorithm>
#include <type_traits>

#include "core/bags.h"
#include "core/scratch.h"
#include "simd/ops-inl.h"
#include "simd/row_sums-inl.h"
#include "tables/named_rows-inl.h"
#include "tables/tables.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// Pools bags of one table.
template <class Codec>
class Pool {
 public:
  Pool(Pooling mode, const PooledTable& table) : mode_(mode), table_(table) {}

  void Bags(size_t begin, size_t end) const {
    if (table_.weights != nullptr) return BagsOf<NamedRows<Codec, RowIds, true>>(begin, end);
    if constexpr (std::is_same_v<Stored, float>) {
      const bool is_done = table_.ids.is_int64 ? BagsOfVectors<IdsOf<int64_t>>(begin, end)
                                               : BagsOfVectors<IdsOf<int32_t>>(begin, end);
      if (is_done) return;
    }
    BagsOf<NamedRows<Codec, RowIds, false>>(begin, end);
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;

  // Rows of float32 that are a few whole vectors, of which most tables are, have loops of their
  // own. (There are fewer of what else there is: all of them take long enough to compile.) Returns
  // whether the table is one of these.
  template <class Ids>
  bool BagsOfVectors(size_t begin, size_t end) const {
    constexpr size_t kEach = kLanes<hn::ScalableTag<Compute>>;
    if (table_.out_dtype != DType::kF32 || table_.width % kEach != 0) return false;
    switch (table_.width / kEach) {
      case 1:
        BagsOf<NamedRows<Codec, Ids, false, kEach>>(begin, end);
        return true;
      case 2:
        BagsOf<NamedRows<Codec, Ids, false, 2 * kEach>>(begin, end);
        return true;
      case 4:
        BagsOf<NamedRows<Codec, Ids, false, 4 * kEach>>(begin, end);
        return true;
      case 8:
        BagsOf<NamedRows<Codec, Ids, false, 8 * kEach>>(begin, end);
        return true;
      default:
        return false;
    }
  }

  // Ends what RowSum begins. A sum that begins with 0 is never -0.
  struct Ending {
    Compute divisor;
    Compute* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i, hn::VFromD<D> sum) const {
      auto pooled = hn::Add(sum, hn::Zero(d));
      if (divisor != 1) pooled = pooled / divisor;
      hn::StoreU(pooled, d, out + i);
    }
  };

  // The body of a walk along the only row of a bag.
  struct OneRow {
    const Stored* row;
    const Ending& sink;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      sink(d, i, Codec::Load(d, row + i));
    }
  };

  // The same, past the caches. (Of 16 bytes, as NumPy's memory is aligned to no more.)
  struct OneRowStreamed {
    const Compute* row;
    Compute* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      hn::Stream(hn::Add(hn::LoadU(d, row + i), hn::Zero(d)), d, out + i);
    }
  };

  template <class Rows>
  void BagsOf(size_t begin, size_t end) const {
    const Rows rows(table_, static_cast<size_t>(table_.offsets[end]));
    if constexpr (std::is_same_v<Stored, Compute>) {
      if (table_.out_dtype == table_.dtype) {
        auto* const out = static_cast<Compute*>(table_.out);
        if (!Rows::kWeighted && table_.has_one_each) {
          EachRow(rows, begin, end, out);
        } else {
          EachBag(rows, begin, end, [&](size_t bag) { return out + Place(bag); }, [](size_t) {});
        }
        return;
      }
    }
    Scratch memory(Scratch::Size<Compute>(table_.width));
    Compute* const row = memory.Take<Compute>(table_.width);
    EachBag(
        rows, begin, end, [&](size_t) { return row; },
        [&](size_t bag) HWY_ATTR { Put(row, Place(bag)); });
  }

  // Writes a pooled row from an element of the output on, in the output's type.
  void Put(const Compute* row, int64_t to) const {
    if (table_.out_dtype == table_.dtype) {
      WalkAll<Compute>(RoundTo<Codec>{row, static_cast<Stored*>(table_.out) + to}, table_.width);
    } else if (table_.out_dtype == DType::kF32) {
      std::copy_n(row, table_.width, static_cast<float*>(table_.out) + to);
    } else {
      std::copy_n(row, table_.width, static_cast<double*>(table_.out) + to);
    }
  }

  int64_t Place(size_t bag) const { return static_cast<int64_t>(bag) * table_.out_stride; }

  // Bags of one id each: the rows.
  template <class Rows>
  void EachRow(const Rows& rows, size_t begin, size_t end, Compute* out) const {
    if (Streams()) {
      for (size_t k = begin; k < end; ++k) {
        rows.Fetch(k);
        Walk(OneRowStreamed{rows.Row(k), out + k * rows.width()}, Quarter(), 0, rows.width());
      }
      hwy::FlushStream();
      return;
    }
    for (size_t k = begin; k < end; ++k) {
      rows.Fetch(k);
      const Ending sink{1, out + Place(k)};
      WalkAll<Compute>(OneRow{rows.Row(k), sink}, rows.width());
    }
  }

  // Whether the output is written past the caches: if it is more than they hold, whoever reads it
  // loses nothing, and memory need not be read before it is written.
  bool Streams() const {
    constexpr size_t kLarge = size_t{4} << 20, kAligned = 16;
    const size_t row_bytes = table_.width * sizeof(Compute);
    const bool is_aligned = (reinterpret_cast<uintptr_t>(table_.out) | row_bytes) % kAligned == 0;
    return is_aligned && static_cast<size_t>(table_.out_stride) == table_.width &&
           table_.bags * row_bytes >= kLarge;
  }
  using Quarter = hn::CappedTag<Compute, 16 / sizeof(Compute)>;

  // `row_of(bag)` says where the pool of a bag is put; then `done(bag)` is called.
  template <class Rows, class RowOf, class Done>
  void EachBag(const Rows& rows, size_t begin, size_t end, const RowOf& row_of,
               const Done& done) const {
    for (size_t bag = begin; bag < end; ++bag) {
      const auto first = static_cast<size_t>(table_.offsets[bag]);
      const auto last = static_cast<size_t>(table_.offsets[bag + 1]);
      Compute* const out = row_of(bag);
      if (first == last) {
        std::fill_n(out, rows.width(), Compute{0});
      } else if (!Rows::kWeighted && last - first == 1) {  // its mean is the row
        rows.Fetch(first);
        const Ending sink{1, out};
        WalkAll<Compute>(OneRow{rows.Row(first), sink}, rows.width());
      } else {
        const auto weight_of = [rows](size_t k) -> Compute { return WeightOf<Codec>(rows, k); };
        const Ending sink{PoolDivisor<Compute>(mode_, first, last, weight_of), out};
        Sum(RowSum<Codec, Rows, Ending>{rows, first, last, sink});
      }
      done(bag);
    }
  }

  template <class Rows>
  HWY_INLINE void Sum(const RowSum<Codec, Rows, Ending>& sum) const {
    if constexpr (Rows::kVectors != 0) {
      sum.template Walk<Rows::kVectors>(hn::ScalableTag<Compute>(), 0);
    } else {
      WalkByMany<Rows::kWeighted ? 4 : 8, Compute>(sum, table_.width);
    }
  }

  const Pooling mode_;
  const PooledTable& table_;
};

// The same as a function.
template <class Codec>
void PoolBags(Pooling mode, const PooledTable& table, size_t begin, size_t end) {
  Pool<Codec>(mode, table).Bags(begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
