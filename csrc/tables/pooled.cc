// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <type_traits>

#include "core/bags.h"
#include "core/group_tasks.h"
#include "core/scratch.h"
#include "core/targets.h"
#include "tables/tables.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tables/pooled.cc"
#include "hwy/foreach_target.h"
#include "simd/dispatch.h"
#include "simd/ops-inl.h"
#include "simd/row_sums-inl.h"
#include "simd/sums-inl.h"

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

// The rows of a table that ids name; up to id `end` they are fetched.
template <class Codec, class Ids, bool kHasWeights>
class NamedRows {
 public:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  static constexpr bool kWeighted = kHasWeights;

  template <class Table>
  NamedRows(const Table& table, size_t end)
      : ids_(table.ids),
        end_(end),
        rows_(static_cast<const Stored*>(table.table)),
        row_count_(table.rows),
        width_(table.width) {
    if constexpr (kHasWeights) weights_ = static_cast<const Compute*>(table.weights);
  }

  HWY_INLINE const Stored* Row(size_t k) const {
    const auto row = static_cast<size_t>(ids_[k]);
    return rows_ + (row < row_count_ ? row : 0) * width_;
  }
  HWY_INLINE Compute Weight(size_t k) const { return weights_[k]; }
  HWY_INLINE void Fetch(size_t k) const {
    if (k + kRowsAhead < end_) PrefetchRow(Row(k + kRowsAhead), width_);
  }

 private:
  Ids ids_;
  size_t end_;
  const Stored* rows_;
  size_t row_count_, width_;
  const Compute* weights_ = nullptr;
};

// Pools bags of one table.
template <class Codec>
class Pool {
 public:
  Pool(Pooling mode, const PooledTable& table) : mode_(mode), table_(table) {}

  // (What is weighted is compiled for fewer cases, as it takes long enough.)
  void Bags(size_t begin, size_t end) const {
    if (table_.weights != nullptr) {
      BagsOf<NamedRows<Codec, RowIds, true>>(begin, end);
    } else if (table_.ids.is_int64) {
      BagsOf<NamedRows<Codec, IdsOf<int64_t>, false>>(begin, end);
    } else {
      BagsOf<NamedRows<Codec, IdsOf<int32_t>, false>>(begin, end);
    }
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;

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

  template <class Rows>
  void BagsOf(size_t begin, size_t end) const {
    if constexpr (std::is_same_v<Stored, Compute>) {
      if (table_.out_dtype == table_.dtype) {
        auto* const out = static_cast<Compute*>(table_.out);
        return EachBag<Rows>(
            begin, end, [&](size_t bag) { return out + Place(bag); }, [](size_t) {});
      }
    }
    Scratch memory(Scratch::Size<Compute>(table_.width));
    Compute* const row = memory.Take<Compute>(table_.width);
    EachBag<Rows>(
        begin, end, [&](size_t) { return row; },
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

  // `row_of(bag)` says where the pool of a bag is put; then `done(bag)` is called.
  template <class Rows, class RowOf, class Done>
  void EachBag(size_t begin, size_t end, const RowOf& row_of, const Done& done) const {
    const Rows rows(table_, static_cast<size_t>(table_.offsets[end]));
    const auto weight_of = [&](size_t k) -> Compute { return WeightOf<Codec>(rows, k); };
    for (size_t bag = begin; bag < end; ++bag) {
      const auto first = static_cast<size_t>(table_.offsets[bag]);
      const auto last = static_cast<size_t>(table_.offsets[bag + 1]);
      Compute* const out = row_of(bag);
      if (first == last) {
        std::fill_n(out, table_.width, Compute{0});
      } else if (!Rows::kWeighted && last - first == 1) {  // its mean is the row
        rows.Fetch(first);
        const Ending sink{1, out};
        WalkAll<Compute>(OneRow{rows.Row(first), sink}, table_.width);
      } else {
        const Ending sink{PoolDivisor<Compute>(mode_, first, last, weight_of), out};
        WalkByMany<Rows::kWeighted ? 4 : 8, Compute>(
            RowSum<Codec, Rows, Ending>{rows, first, last, sink}, table_.width);
      }
      done(bag);
    }
  }

  const Pooling mode_;
  const PooledTable& table_;
};

// All tables of one call.
struct PooledTables {
  const PooledCall& call;

  size_t tables() const { return call.table_count; }
  BagCosts Costs(size_t t) const {
    const PooledTable& table = call.tables[t];
    return {table.offsets, table.bags, table.width * SizeOf(table.dtype)};
  }
  void operator()(size_t t, size_t begin, size_t end) const {
    const PooledTable& table = call.tables[t];
    if (table.width == 0) return;
    WithCodec(table.dtype, [&](auto codec) HWY_ATTR {
      Pool<decltype(codec)>(call.mode, table).Bags(begin, end);
    });
  }

  static void Apply(const PooledCall& call) { RunGroups(PooledTables{call}); }
};

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

void GatherPooled(const PooledCall& call) {
  static constexpr void (*kTable[])(const PooledCall&) = SLOTWISE_TABLE(PooledTables::Apply);
  kTable[TargetIndex()](call);
}

void PooledWeightGradient(const WeightGradientCall& call) {
  static constexpr void (*kTable[])(const WeightGradientCall&) =
      SLOTWISE_TABLE(WeightGradient::Apply);
  kTable[TargetIndex()](call);
}

}  // namespace slotwise
#endif
